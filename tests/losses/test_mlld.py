"""Multi-level logit distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import waves
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.mlld import multi_level
from kdbench.losses.st import soft_targets


def _pair() -> tuple[Tensor, Tensor]:
    return waves(4, 5), waves(4, 5, phase=1.0)


def test_it_is_the_formula() -> None:
    student, teacher = (scores.numpy() for scores in _pair())
    total = 0.0
    for temperature in (1.5, 4.0):
        p_s, p_t = (np.exp(x / temperature) / np.exp(x / temperature).sum(1, keepdims=True) for x in (student, teacher))
        total += 2 * temperature**2 * (p_t * np.log(p_t / p_s)).sum(1).mean()
        total += 3 * ((p_s @ p_s.T - p_t @ p_t.T) ** 2).sum() / 4
        total += 5 * ((p_s.T @ p_s - p_t.T @ p_t) ** 2).sum() / 5
    value = multi_level(*_pair(), temperatures=(1.5, 4.0), instance_weight=2, batch_weight=3, class_weight=5)
    assert value.item() == pytest.approx(total, rel=1e-12)


def test_it_is_the_authors() -> None:
    # Jin-Ying/Multi-Level-Logit-Distillation, kd_loss + bc_loss + cc_loss at 2, 3, 4, 5, 6 in float64.
    assert multi_level(*_pair()).item() == pytest.approx(4.089198420731881, rel=1e-12)


def test_its_instances_are_soft_targets() -> None:
    value = multi_level(*_pair(), temperatures=[3.0], batch_weight=0, class_weight=0)
    torch.testing.assert_close(value, soft_targets(*_pair(), temperature=3.0))


def test_the_gradient_is_that_of_the_value() -> None:
    student, teacher = _pair()
    assert torch.autograd.gradcheck(lambda scores: multi_level(scores, teacher), student.requires_grad_())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperatures": []}, "mlld: temperatures is empty; expected positive numbers"),
        ({"temperatures": [2, 0]}, "mlld: temperatures is 0, expected a positive number"),
    ],
)
def test_bad_requests_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        multi_level(*_pair(), **params)
