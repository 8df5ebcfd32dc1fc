"""VGG-16 without a head, from scratch (Simonyan and Zisserman, ICLR 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.encoders.base import Encoder
from kdbench.encoders.conv import NORMS, normalise
from kdbench.errors import ParameterError, unknown_value
from kdbench.registry import encoder

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of each block."""


@encoder("vgg16", eats="image")
class VGG16(Encoder):
    """Thirteen 3×3 convolutions in five blocks, each halving an image `(B, C, S, S)` at its end; random weights.

    The first block is the stem, the others are the four stages. The embedding is the last map, averaged to a few cells,
    as a vector: what VGG's linear layers take.

    Args:
        in_channels: Channels of the image.
        widths: Channels of the five blocks.
        norm: `group` normalises each sample on its own; `batch` is VGG16-BN.
        grid: Cells along each side of the last map in the embedding, 7 in the paper.

    Raises:
        UsageError: Not five positive widths, an unknown norm, or a grid below 1.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        norm: Literal["group", "batch"] = "group",
        grid: int = 7,
    ) -> None:
        super().__init__(in_channels)
        if len(widths) != len(CONVOLUTIONS) or any(width < 1 for width in widths):
            raise ParameterError(
                f"widths = {list(widths)}: expected five positive channel counts, one per block", "widths"
            )
        if norm not in NORMS:
            raise unknown_value("norm", norm, NORMS, of="vgg16")
        if grid < 1:
            raise ParameterError(f"vgg16: grid = {grid}, expected 1 or more", "grid")
        self.normalisation = "batch" if norm == "batch" else "sample"
        self.stem_channels, *rest = widths
        self.channels = tuple(rest)
        self.grid = grid
        self.width = widths[-1] * grid**2
        inputs = (in_channels, *widths)
        self.blocks = nn.ModuleList(
            _block(before, width, count, norm)
            for before, width, count in zip(inputs[:-1], widths, CONVOLUTIONS, strict=True)
        )

    def stem(self, x: Tensor) -> Tensor:
        """The first block."""
        return self.blocks[0](x)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self.blocks[index + 1](x)

    def pool(self, last: Tensor) -> Tensor:
        """The means over the cells, channel by channel."""
        return F.adaptive_avg_pool2d(last, self.grid).flatten(1)


def _block(inputs: int, width: int, count: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(count):
        convolution = nn.Conv2d(width if number else inputs, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, normalise(norm, width, 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))
