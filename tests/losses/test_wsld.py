"""Weighted soft labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import batch_of, waves
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.wsld import weighted_soft_labels

LABEL = torch.tensor([0, 3, 1, 2])
BATCH = batch_of(4).replace(label=LABEL)


def _pair() -> tuple[Tensor, Tensor]:
    return waves(4, 5), waves(4, 5, phase=1.0)


def _weight(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = (-scores.detach().log_softmax(1)[torch.arange(4), LABEL] for scores in (student, teacher))
    return 1 - torch.exp(-ours / (theirs + 1e-7))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_it_is_the_formula(temperature: float) -> None:
    student, teacher = (scores.numpy() for scores in _pair())
    rows = np.arange(4)

    def log_softmax(scores: np.ndarray) -> np.ndarray:
        return scores - np.log(np.exp(scores).sum(1, keepdims=True))

    hard_s, hard_t = (-log_softmax(scores)[rows, LABEL.numpy()] for scores in (student, teacher))
    soft = -(np.exp(log_softmax(teacher / temperature)) * log_softmax(student / temperature)).sum(1)
    expected = temperature**2 * np.mean((1 - np.exp(-hard_s / (hard_t + 1e-7))) * soft)
    value = weighted_soft_labels(*_pair(), batch=BATCH, temperature=temperature)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_it_is_the_authors() -> None:
    # yzd-v/cls_KD, WSLDLoss(temp=2, alpha=1) in float64.
    assert weighted_soft_labels(*_pair(), batch=BATCH).item() == pytest.approx(5.296516597679754, rel=1e-12)


def test_the_gradient_is_that_of_the_value_at_fixed_weights() -> None:
    student, teacher = _pair()
    student.requires_grad_()
    weights = _weight(student, teacher)

    def at_fixed_weights(scores: Tensor) -> Tensor:
        soft = -((teacher / 2).softmax(1) * (scores / 2).log_softmax(1)).sum(1)
        return 4 * (weights * soft).mean()

    assert torch.autograd.gradcheck(at_fixed_weights, student)
    (found,) = torch.autograd.grad(weighted_soft_labels(student, teacher, batch=BATCH), student)
    (expected,) = torch.autograd.grad(at_fixed_weights(student), student)
    torch.testing.assert_close(found, expected)


def test_a_sample_that_the_student_knows_counts_little_and_one_that_only_the_teacher_knows_fully() -> None:
    certain = 30 * torch.nn.functional.one_hot(LABEL, 5).double()
    wrong = certain.roll(1, 1)
    knows = weighted_soft_labels(certain, torch.zeros(4, 5), batch=BATCH)
    assert knows.item() == pytest.approx(0, abs=1e-9)
    soft = 4 * -((certain / 2).softmax(1) * (wrong / 2).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(weighted_soft_labels(wrong, certain, batch=BATCH), soft)


def test_bad_requests_are_refused() -> None:
    for parameter in ("temperature", "eps"):
        with pytest.raises(UsageError, match=f"wsld: {parameter} is 0, expected a positive number"):
            weighted_soft_labels(*_pair(), batch=BATCH, **{parameter: 0})
    with pytest.raises(UsageError, match=r"wsld: the student's logits are \(4, 5\), the teacher's \(3, 5\)"):
        weighted_soft_labels(waves(4, 5), waves(3, 5), batch=BATCH)
