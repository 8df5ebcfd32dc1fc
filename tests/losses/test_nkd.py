"""Normalised distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import batch_of, waves
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.nkd import normalised

LABEL = torch.tensor([0, 3, 1, 2])
BATCH = batch_of(4).replace(label=LABEL)


def _pair() -> tuple[Tensor, Tensor]:
    return waves(4, 5), waves(4, 5, phase=1.0)


def _softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@pytest.mark.parametrize(("gamma", "temperature"), [(1.5, 1.0), (0.7, 3.0)])
def test_it_is_the_formula(gamma: float, temperature: float) -> None:
    student, teacher = _pair()
    rows = []
    for s, t, y in zip(student.numpy(), teacher.numpy(), LABEL.tolist(), strict=True):
        others = [k for k in range(5) if k != y]
        soft_s, soft_t = (_softmax(scores[others] / temperature) for scores in (s, t))
        of_label = _softmax(t)[y] * np.log(_softmax(s)[y])
        rows.append(-of_label - gamma * temperature**2 * (soft_t * np.log(soft_s)).sum())
    value = normalised(student, teacher, batch=BATCH, gamma=gamma, temperature=temperature)
    assert value.item() == pytest.approx(np.mean(rows), rel=1e-12)


def test_it_is_the_authors() -> None:
    # yzd-v/cls_KD, NKDLoss(temp=2, gamma=1.5) in float64.
    assert normalised(*_pair(), batch=BATCH, temperature=2.0).item() == pytest.approx(9.27966372967993, rel=1e-12)


def test_the_gradient_is_that_of_the_value() -> None:
    student, teacher = _pair()
    assert torch.autograd.gradcheck(lambda scores: normalised(scores, teacher, batch=BATCH), student.requires_grad_())


def test_without_a_label_the_teachers_class_is_the_target() -> None:
    student, teacher = _pair()
    unlabelled = BATCH.replace(label=torch.tensor([0, -1, 1, -1]))
    told = BATCH.replace(label=torch.where(unlabelled.label < 0, teacher.argmax(1), LABEL))
    assert normalised(student, teacher, batch=unlabelled) == normalised(student, teacher, batch=told)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="nkd: temperature is 0, expected a positive number"):
        normalised(*_pair(), batch=BATCH, temperature=0)
    with pytest.raises(UsageError, match="nkd: there is 1 class; expected at least 2"):
        normalised(torch.zeros(4, 1), torch.zeros(4, 1), batch=BATCH)
    with pytest.raises(UsageError, match=r"nkd: the student's logits are \(4, 5\), the teacher's \(3, 5\)"):
        normalised(waves(4, 5), waves(3, 5), batch=BATCH)
