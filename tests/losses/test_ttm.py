"""Transformed teacher matching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import waves
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.ttm import transformed_teacher


def _pair() -> tuple[Tensor, Tensor]:
    return waves(4, 5), waves(4, 5, phase=1.0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exponent", [0.1, 0.7, 1.0])
def test_it_is_the_formula(exponent: float, weighted: bool) -> None:
    student, teacher = _pair()
    p_s, p_t = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (student.numpy(), teacher.numpy()))
    powers = p_t**exponent
    target = powers / powers.sum(1, keepdims=True)
    divergence = (target * np.log(target / p_s)).sum(1) * (powers.sum(1) if weighted else 1)
    value = transformed_teacher(student, teacher, exponent=exponent, weighted=weighted)
    assert value.item() == pytest.approx(divergence.mean(), rel=1e-12)


def test_it_is_the_authors() -> None:
    # zkxufo/TTM, TTM(0.1) and WTTM(0.2) in float64.
    assert transformed_teacher(*_pair()).item() == pytest.approx(0.7035931541316147, rel=1e-12)
    weighted = transformed_teacher(*_pair(), exponent=0.2, weighted=True)
    assert weighted.item() == pytest.approx(2.050072810509105, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_the_value(weighted: bool) -> None:
    student, teacher = _pair()
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: transformed_teacher(scores, teacher, weighted=weighted), student)


def test_a_certain_teacher_weighs_one_and_an_undecided_one_most() -> None:
    student = waves(1, 5)
    for teacher, weight in ((torch.tensor([[1e4, -1e4, -1e4, -1e4, -1e4]]), 1.0), (torch.zeros(1, 5), 5**0.8)):
        plain, weighted = (transformed_teacher(student, teacher, exponent=0.2, weighted=each) for each in (False, True))
        assert (weighted / plain).item() == pytest.approx(weight, rel=1e-5)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="ttm: exponent is 0, expected a positive number"):
        transformed_teacher(*_pair(), exponent=0)
    with pytest.raises(UsageError, match=r"ttm: the student's logits are \(4, 5\), the teacher's \(3, 5\)"):
        transformed_teacher(waves(4, 5), waves(3, 5))
