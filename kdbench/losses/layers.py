"""Layers of what losses learn on maps, whatever the number of axes of their grid."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_TAPS = 3
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Pointwise(nn.Module):
    """A linear along the channels, the 1x1 convolution of a grid with any axes; drawn as `nn.Conv2d` draws it.

    Args:
        inputs: Channels of the map.
        outputs: Channels of the result.
        bias: Whether it adds a bias.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        _draw(self.weight, self.bias, inputs)

    def forward(self, feature: Tensor) -> Tensor:
        """`(B, C, *grid)` to `(B, C', *grid)`."""
        flat = feature.to(self.weight.dtype).flatten(2)
        return F.conv1d(flat, self.weight[:, :, None], self.bias).unflatten(2, feature.shape[2:])


class Convolution(nn.Module):
    """A convolution of three taps along each axis, padded with zeros, drawn as PyTorch draws its own.

    Its weights also serve grids of fewer axes, by their middle taps: those of a clip `(C', C, 3, 3, 3)` convolve an
    image with their middle 3x3 and a series with their middle 3. A loss may be built before it is known on which grid
    the maps of two networks meet; see `kdbench.losses.maps.meeting_axes`.

    Args:
        inputs: Channels of the map.
        outputs: Channels of the result.
        axes: The most axes that a grid may have, 1 to 3.
        bias: Whether it adds a bias.
    """

    def __init__(self, inputs: int, outputs: int, *, axes: int = 3, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *[_TAPS] * axes))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        _draw(self.weight, self.bias, inputs * _TAPS**axes)

    def forward(self, feature: Tensor) -> Tensor:
        """`(B, C, *grid)` to `(B, C', *grid)`."""
        axes = feature.dim() - 2
        weight: Tensor = self.weight
        # Along an axis that the map lacks, the outer taps would meet padding alone.
        for _ in range(weight.dim() - feature.dim()):
            weight = weight[:, :, _TAPS // 2]
        return _CONVOLUTIONS[axes](feature.to(weight.dtype), weight, self.bias, padding=_TAPS // 2)


class MapNorm(_BatchNorm):
    """BatchNorm of maps `(B, C, *grid)` over samples and positions.

    One value a channel, a single sample with a single position, has no spread: it is normalised by the running
    statistics.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """`(B, C, *grid)` to the same shape."""
        # One value a channel has no variance, and torch refuses it in training: the running statistics serve.
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        """Grids of any number of axes pass."""


def bottleneck(inputs: int, width: int, outputs: int, *, axes: int) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolution, with BatchNorm and ReLU after the first two; `axes` as of `Convolution`."""
    return nn.Sequential(
        *(Pointwise(inputs, width), MapNorm(width), nn.ReLU()),
        *(Convolution(width, width, axes=axes), MapNorm(width), nn.ReLU()),
        Pointwise(width, outputs),
    )


def _draw(weight: Tensor, bias: Tensor | None, fan_in: int) -> None:
    bound = 1 / math.sqrt(fan_in)
    for drawn in (weight, bias):
        if drawn is not None:
            nn.init.uniform_(drawn, -bound, bound)
