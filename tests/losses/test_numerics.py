"""Precision of the losses."""

from __future__ import annotations

import pytest
import torch

from kdbench.losses.numerics import at_least_float32, squared_distances, unit


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_distances_keep_their_digits_under_a_common_offset(offset: float) -> None:
    points = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) + offset
    exact = (points.double()[:, None] - points.double()).square().sum(2)
    torch.testing.assert_close(squared_distances(points), exact, rtol=1e-9, atol=1e-9)
    assert (squared_distances(points).diagonal() == 0).all()


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
