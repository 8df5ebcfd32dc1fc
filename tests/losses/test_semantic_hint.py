"""The semantic features of student and teacher."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.losses.semantic_hint import semantic_hint


def test_it_is_the_mean_squared_distance_and_moves_the_student_alone() -> None:
    student = torch.tensor([[0.0, 1.0], [2.0, 4.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 1.0], [2.0, 1.0]], requires_grad=True)
    loss = semantic_hint(student, teacher)
    # (1 + 0 + 0 + 9) / 4
    assert loss.item() == 2.5
    loss.backward()
    assert teacher.grad is None
    torch.testing.assert_close(student.grad, (student.detach() - teacher.detach()) / 2)


def test_unlike_batches_and_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="the student has 3 samples, the teacher 2"):
        semantic_hint(torch.zeros(3, 2), torch.zeros(2, 2))
    with pytest.raises(UsageError, match="semantic_hint"):
        semantic_hint(torch.zeros(3, 2), torch.zeros(3, 4))
