"""DIST."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.dist import correlated


def _pair(samples: int = 6, classes: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(2, samples, classes, dtype=torch.float64, generator=generator)).to(dtype)
    return student, teacher


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_it_is_pearsons_distance_of_rows_and_of_columns(temperature: float) -> None:
    student, teacher = _pair()
    ours, theirs = ((scores / temperature).softmax(1).numpy() for scores in (student, teacher))
    rows, columns = (
        1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)])
        for x, y in ((ours, theirs), (ours.T, theirs.T))
    )
    value = correlated(student, teacher, beta=2, gamma=3, temperature=temperature, scale="none")
    assert value.item() == pytest.approx(2 * rows + 3 * columns, rel=1e-9)
    squared = correlated(student, teacher, beta=2, gamma=3, temperature=temperature)
    torch.testing.assert_close(squared, temperature**2 * value)


def test_the_gradient_is_that_of_the_value() -> None:
    student, teacher = _pair()
    assert torch.autograd.gradcheck(lambda scores: correlated(scores, teacher), student.requires_grad_())


@pytest.mark.parametrize("level", [0.0, 0.3, -7.1])
def test_a_student_without_preference_has_no_correlation_and_no_gradient(level: float) -> None:
    student = torch.full((4, 5), level, requires_grad=True)
    value = correlated(student, _pair(4, dtype=torch.float32)[1], beta=2, gamma=3)
    value.backward()
    assert value == 5
    assert (student.grad == 0).all()


def test_one_sample_has_no_relation_to_others() -> None:
    student, teacher = _pair(1)
    student.requires_grad_()
    between_samples = correlated(student, teacher, beta=0, gamma=1)
    between_samples.backward()
    assert between_samples == 1
    assert (student.grad == 0).all()
    assert 0 < correlated(student, teacher, beta=1, gamma=0) < 2


def test_float32_keeps_the_correlation_of_tiny_probabilities() -> None:
    student, teacher = _pair(dtype=torch.float32)
    student, teacher = student - 20 * torch.eye(6, 5), teacher - 20 * torch.eye(6, 5)
    student[:, 4] -= 12
    teacher[:, 4] -= 12
    exact = correlated(student.double(), teacher.double())
    assert correlated(student, teacher).item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": -1}, "dist: temperature is -1, expected a positive number"),
        ({"scale": "t"}, "unknown scale of dist 't'"),
        ({"eps": 0}, "dist: eps is 0"),
    ],
)
def test_bad_requests_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        correlated(*_pair(), **params)
