"""Layers that serve grids of one, two and three axes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdbench.losses.layers import Convolution, MapNorm, Pointwise, bottleneck

GRIDS = [(5,), (4, 3), (2, 3, 4)]


def _map(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("grid", "axes"), [(grid, axes) for grid in GRIDS for axes in range(len(grid), 4)])
def test_a_convolution_is_that_of_its_middle_taps_on_every_grid(grid: tuple[int, ...], axes: int, bias: bool) -> None:
    layer, feature = Convolution(3, 4, axes=axes, bias=bias).double(), _map(2, 3, *grid)
    plain = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(grid) - 1](3, 4, 3, padding=1, bias=bias).double()
    middle = layer.weight[(slice(None), slice(None), *[1] * (axes - len(grid)))]
    with torch.no_grad():
        plain.weight.copy_(middle)
        if bias:
            plain.bias.copy_(layer.bias)
    torch.testing.assert_close(layer(feature), plain(feature))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_pointwise_layer_is_a_linear_at_every_position(grid: tuple[int, ...]) -> None:
    layer, feature = Pointwise(3, 4, bias=True).double(), _map(2, 3, *grid)
    expected = F.linear(feature.movedim(1, -1), layer.weight, layer.bias).movedim(-1, 1)
    torch.testing.assert_close(layer(feature), expected)


def test_weights_are_drawn_as_pytorchs_own() -> None:
    image, series = Convolution(16, 32, axes=2, bias=True), Convolution(12, 32, axes=1, bias=True)
    for layer, bound in ((image, 1 / 12), (series, 1 / 6), (Pointwise(16, 32, bias=True), 1 / 4)):
        for drawn in layer.parameters():
            assert drawn.abs().max() <= bound
        assert layer.weight.abs().max() > 0.9 * bound


@pytest.mark.parametrize("grid", GRIDS)
def test_maps_are_normalised_over_samples_and_positions(grid: tuple[int, ...]) -> None:
    layer, feature = MapNorm(3).double(), _map(4, 3, *grid)
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(grid) - 1](3).double()
    torch.testing.assert_close(layer(feature), plain(feature))
    torch.testing.assert_close(layer.running_var, plain.running_var)


def test_a_single_value_is_normalised_by_the_running_statistics_and_leaves_them() -> None:
    layer = MapNorm(3).double()
    layer(_map(4, 3, 5))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    single = _map(1, 3, 1, 1)
    expected = (single - before["running_mean"].view(-1, 1, 1)) / (before["running_var"].view(-1, 1, 1) + 1e-5).sqrt()
    torch.testing.assert_close(layer(single), expected)
    assert all(value.equal(before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("grid", GRIDS)
def test_a_bottleneck_keeps_the_grid(grid: tuple[int, ...]) -> None:
    assert bottleneck(3, 8, 5, axes=3).double()(_map(2, 3, *grid)).shape == (2, 5, *grid)
