"""Precision of the losses."""

from __future__ import annotations

import pytest
import torch

from kdbench.losses.distances import squared_distances
from kdbench.losses.numerics import at_least_float32, unit


@pytest.mark.parametrize("samples", [7, 131])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_distances_keep_their_digits_under_a_common_offset(offset: float, samples: int) -> None:
    points = torch.randn(samples, 5, generator=torch.Generator().manual_seed(0)) + offset
    exact = (points.double()[:, None] - points.double()).square().sum(2)
    torch.testing.assert_close(squared_distances(points), exact, rtol=1e-9, atol=1e-9)
    assert (squared_distances(points).diagonal() == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_the_gradient_of_distances_is_that_of_the_differences(offset: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    points = (torch.randn(131, 5, generator=generator) + offset).to(dtype).requires_grad_()
    weights = torch.randn(131, 131, generator=generator)
    exact = points.detach().double().requires_grad_()
    (weights * squared_distances(points)).sum().backward()
    (weights * (exact[:, None] - exact).square().sum(2)).sum().backward()
    assert points.grad is not None
    assert points.grad.dtype == dtype
    assert exact.grad is not None
    error = (points.grad - exact.grad).abs().max() / exact.grad.abs().max()
    assert error < (1e-12 if dtype == torch.float64 else 1e-5)


def test_autocast_does_not_take_them_down() -> None:
    points = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    exact = squared_distances(points)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(squared_distances(points), exact)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_is_cast_up_and_double_is_kept(given: torch.dtype, expected: torch.dtype) -> None:
    assert at_least_float32(torch.zeros(2, dtype=given)).dtype == expected


def test_a_vector_without_length_has_no_direction_and_no_gradient() -> None:
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]], requires_grad=True)
    directions = unit(values, 1)
    torch.testing.assert_close(directions, torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]]))
    directions.sum().backward()
    assert values.grad is not None
    assert values.grad[0].abs().min() > 0
    assert (values.grad[1:] == 0).all()
