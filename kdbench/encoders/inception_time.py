"""InceptionTime over a series (Fawaz et al., 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.encoders.base import Encoder, demand_at_least
from kdbench.encoders.conv import NORMS, normalise
from kdbench.errors import ParameterError, unknown_value
from kdbench.registry import encoder

BLOCK = 3
"""Modules between two residual connections."""
MOST_BLOCKS = 4


class Inception(nn.Module):
    """Three convolutions of different lengths and a pooled one, side by side: `(B, C, n)` to `(B, 4·filters, n)`.

    Args:
        inputs: C.
        filters: Filters of each.
        bottleneck: Channels that the long convolutions see.
        kernel: Samples of the longest; the others have a half and a quarter.
        norm: `batch` or `group`.
    """

    def __init__(self, inputs: int, filters: int, bottleneck: int, kernel: int, norm: str) -> None:
        super().__init__()
        self.bottleneck: nn.Module = nn.Identity()
        seen = inputs
        if inputs > 1:
            self.bottleneck, seen = nn.Conv1d(inputs, bottleneck, 1, bias=False), bottleneck
        self.convolutions = nn.ModuleList(
            # An even length is padded by one sample more behind, as in Keras.
            nn.Sequential(
                nn.ConstantPad1d(((length - 1) // 2, length // 2), 0.0), nn.Conv1d(seen, filters, length, bias=False)
            )
            for length in (kernel, kernel // 2, kernel // 4)
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(inputs, filters, 1, bias=False))
        self.norm = normalise(norm, 4 * filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        narrow = self.bottleneck(x)
        parts = [*(convolution(narrow) for convolution in self.convolutions), self.pooled(x)]
        return self.norm(torch.cat(parts, 1)).relu()


class Block(nn.Module):
    """Three modules around a shortcut: a convolution of one sample and a normalisation.

    Args:
        inputs: Channels in.
        modules: The three.
        width: Channels out.
        norm: `batch` or `group`.
    """

    def __init__(self, inputs: int, modules: nn.Sequential, width: int, norm: str) -> None:
        super().__init__()
        self.inceptions = modules
        self.shortcut = nn.Sequential(nn.Conv1d(inputs, width, 1, bias=False), normalise(norm, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, n)` to `(B, width, n)`."""
        return (self.inceptions(x) + self.shortcut(x)).relu()


@encoder("inception_time", eats="series")
class InceptionTime(Encoder):
    """One network of InceptionTime over a series `(B, axes, n)`: inception modules with a residual every third.

    A stage is what lies between two residual connections, so that the six modules are two stages, both of the length of
    the series. Losses on stages and fusions between stages, which need four, do not go with it.

    The sizes are those of the authors' code. The paper's classifier is the mean of five such networks; this is one of
    them. Epsilon and momentum of BatchNorm, and the initial weights, are torch's and not those of Keras.

    Args:
        in_channels: Axes of the sensor.
        depth: Modules: 3, 6, 9 or 12.
        filters: Filters of each of a module's four parts.
        bottleneck: Channels that a module's long convolutions see; an input of one axis is seen as it is.
        kernel: Samples of the longest convolution; the others have a half and a quarter.
        norm: `batch`, as in the paper, or `group`, which normalises each sample on its own.
        dropout: Share of the embedding's entries that training drops; none in the paper.
    """

    isotropic = True

    def __init__(
        self,
        in_channels: int,
        *,
        depth: int = 6,
        filters: int = 32,
        bottleneck: int = 32,
        kernel: int = 40,
        norm: Literal["batch", "group"] = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels)
        if norm not in NORMS:
            raise unknown_value("norm", norm, NORMS, of="inception_time")
        possible = [BLOCK * count for count in range(1, MOST_BLOCKS + 1)]
        if depth not in possible:
            raise ParameterError(
                f"depth = {depth!r}: expected {', '.join(map(str, possible))}, three modules a residual", "depth"
            )
        demand_at_least(1, filters=filters, bottleneck=bottleneck)
        demand_at_least(4, kernel=kernel)
        self.normalisation = "batch" if norm == "batch" else "sample"
        self.width = 4 * filters
        self.channels = (self.width,) * (depth // BLOCK)
        self.stages = nn.ModuleList(
            Block(
                inputs,
                nn.Sequential(
                    *(Inception(seen, filters, bottleneck, kernel, norm) for seen in (inputs, self.width, self.width))
                ),
                self.width,
                norm,
            )
            for inputs in (in_channels, *self.channels[1:])
        )
        self.dropout = nn.Dropout(dropout)

    def stem(self, x: Tensor) -> Tensor:
        """The series as it is."""
        return x

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self.stages[index](x)

    def pool(self, last: Tensor) -> Tensor:
        """Mean over time, then dropout."""
        return self.dropout(last.mean(2))
