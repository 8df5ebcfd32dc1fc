"""Probabilistic knowledge transfer."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from kdbench.errors import UsageError
from kdbench.losses.pkt import probabilistic


def _points(samples: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_divergence_of_the_neighbours_probabilities() -> None:
    student, teacher = _points(4, 3), _points(4, 6, seed=1)
    probabilities = []
    for points in (teacher, student):
        rows = [[(1 + cosine_similarity(a, b, dim=0).item()) / 2 for b in points] for a in points]
        probabilities.append([[entry / sum(row) for entry in row] for row in rows])
    pairs = [(p, q) for ps, qs in zip(*probabilities, strict=True) for p, q in zip(ps, qs, strict=True)]
    expected = sum(p * log(p / q) for p, q in pairs) / 16
    assert probabilistic(student, teacher, eps=1e-12).item() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_the_value() -> None:
    student, teacher = _points(5, 3).requires_grad_(), _points(5, 4, seed=1)
    assert torch.autograd.gradcheck(lambda points: probabilistic(points, teacher), student)


def test_a_sample_without_direction_gets_no_gradient_and_spoils_none() -> None:
    student = _points(4, 3)
    student[1] = 0
    student.requires_grad_()
    value = probabilistic(student, _points(4, 5, seed=1))
    value.backward()
    assert value > 0
    assert (student.grad[1] == 0).all()
    assert student.grad.isfinite().all()
    assert 0 < student.grad.abs().max() < 1


def test_alike_batches_keep_their_digits_in_float32() -> None:
    # Probabilities in float32 are off by a percent here.
    teacher = _points(32, 16).float()
    student = (teacher + 1e-3 * _points(32, 16, seed=1)).float()
    exact = probabilistic(student.double(), teacher.double())
    value = probabilistic(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-4)


def test_one_sample_has_no_neighbours() -> None:
    student = _points(1, 3).requires_grad_()
    value = probabilistic(student, _points(1, 5, seed=1))
    value.backward()
    assert value == 0
    assert student.grad.abs().max() < 1e-15


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="pkt: eps is 0, expected a positive number"):
        probabilistic(_points(3, 4), _points(3, 4), eps=0)
    with pytest.raises(UsageError, match="pkt: the student has 3 samples, the teacher 4"):
        probabilistic(_points(3, 4), _points(4, 4))
