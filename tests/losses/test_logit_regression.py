"""Regression of the teacher's logits."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.losses.logits import logit_regression


def test_it_is_the_mean_squared_difference_and_feels_an_offset() -> None:
    teacher = torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]])
    assert logit_regression(teacher + 3, teacher) == 9
    assert logit_regression(2 * teacher, teacher) == teacher.square().mean()


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2, 3, 1)])
def test_unlike_scores_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"logits: the student's logits are \(2, 3\).* the same classes"):
        logit_regression(torch.zeros(2, 3), torch.zeros(shape))
