"""Correlation congruence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from kdbench.errors import UsageError
from kdbench.losses.cc import correlation_congruence


def _points(samples: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("gamma", [0.4, 1.5])
def test_a_high_order_is_the_gaussian_kernel_of_unit_vectors(gamma: float) -> None:
    student, teacher = _points(6, 4), _points(6, 9, seed=1)
    kernels = [torch.exp(-gamma * torch.cdist(x, x).square()) for x in (normalize(student), normalize(teacher))]
    expected = (kernels[0] - kernels[1]).square().mean()
    torch.testing.assert_close(correlation_congruence(student, teacher, gamma=gamma, order=25), expected)


def test_the_bilinear_kernel_is_the_cosine() -> None:
    student, teacher = _points(6, 4), _points(6, 9, seed=1)
    cosines = [normalize(x) @ normalize(x).T for x in (student, teacher)]
    expected = (cosines[0] - cosines[1]).square().mean()
    torch.testing.assert_close(correlation_congruence(student, teacher, kernel="bilinear"), expected)


def test_rotation_and_length_have_no_effect() -> None:
    student, teacher = _points(6, 4), _points(6, 9, seed=1)
    rotation = torch.linalg.qr(_points(4, 4, seed=2)).Q
    lengths = torch.arange(1, 7, dtype=torch.float64)[:, None]
    value = correlation_congruence(student, teacher)
    torch.testing.assert_close(correlation_congruence(lengths * student @ rotation, teacher / lengths), value)
    assert abs(correlation_congruence(student + 1, teacher) - value) > 1e-3


def test_the_gradient_is_that_of_the_value_and_a_zero_sample_has_none() -> None:
    student, teacher = _points(5, 3), _points(5, 4, seed=1)
    assert torch.autograd.gradcheck(lambda x: correlation_congruence(x, teacher, order=3), student.requires_grad_())
    collapsed = torch.zeros(5, 3, requires_grad=True)
    value = correlation_congruence(collapsed, teacher)
    value.backward()
    assert value.isfinite()
    assert (collapsed.grad == 0).all()


def test_one_sample_has_no_relations() -> None:
    student = _points(1, 3).requires_grad_()
    value = correlation_congruence(student, _points(1, 5, seed=1))
    value.backward()
    assert value < 1e-30
    assert student.grad.abs().max() < 1e-15


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kernel": "gausian"}, "did you mean 'gaussian'"),
        ({"gamma": 0}, "cc: gamma is 0, expected a positive number"),
        ({"order": 0}, "cc: order is 0, expected a whole number of at least 1"),
        ({"order": 1.5}, "cc: order is 1.5, expected a whole number"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        correlation_congruence(_points(3, 4), _points(3, 4), **params)
