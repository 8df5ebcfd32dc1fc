"""Small transformers over a series, in four stages: of shrinking length, and of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kdbench.encoders.base import Encoder
from kdbench.errors import ParameterError
from kdbench.registry import encoder

HEAD_WIDTH = 16


class Merging(nn.Module):
    """Joins neighbours along a series: `(B, L, C)` to `(B, ⌈L/2⌉, C')`; an odd last one is joined with zeros.

    Args:
        inputs: C.
        outputs: C'.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * inputs)
        self.reduction = nn.Linear(2 * inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if x.shape[1] % 2:
            x = nn.functional.pad(x, (0, 0, 0, 1))
        return self.reduction(self.norm(x.unflatten(1, (-1, 2)).flatten(2)))


@encoder("transformer1d", eats="series")
class Transformer1d(Encoder):
    """Pre-norm transformer over a series `(B, axes, n)`; grids n/P, n/2P, n/4P, n/8P for patches of P samples.

    Patches are embedded, and a depthwise convolution adds what stands around each (Chu et al., 2021), so that a series
    may have any length. Each later stage begins by joining neighbours, as in Swin (Liu et al., 2021).

    Args:
        in_channels: Axes of the sensor.
        widths: C_1 … C_4, multiples of 16; a head of the attention has 16.
        depths: Blocks of each stage.
        patch: P.
        dropout: Share of the entries that training drops in the blocks and of the embedding.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Sequence[int] = (32, 64, 96, 128),
        depths: Sequence[int] = (1, 1, 2, 1),
        patch: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_channels)
        if len(widths) != 4 or any(width < HEAD_WIDTH or width % HEAD_WIDTH for width in widths):
            raise ParameterError(
                f"widths = {list(widths)}: expected four positive multiples of {HEAD_WIDTH}, one per stage", "widths"
            )
        if len(depths) != 4 or any(depth < 1 for depth in depths):
            raise ParameterError(
                f"depths = {list(depths)}: expected four positive numbers of blocks, one per stage", "depths"
            )
        if not isinstance(patch, int) or patch < 1:
            raise ParameterError(f"patch = {patch!r}: expected a whole number of samples, at least 1", "patch")
        first, second, third, fourth = widths
        self.channels = (first, second, third, fourth)
        self.width = fourth
        self.patches = nn.Conv1d(in_channels, first, patch, patch)
        self.positions = nn.Conv1d(first, first, 9, padding=4, groups=first)
        self.mergings = nn.ModuleList(Merging(*pair) for pair in pairwise(widths) if not self.isotropic)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_block(width, dropout) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.norm = nn.LayerNorm(fourth)
        self.dropout = nn.Dropout(dropout)
        self.patch = patch

    def stem(self, x: Tensor) -> Tensor:
        """Embeds patches; the series is continued with its last sample to a whole number of them."""
        missing = -x.shape[-1] % self.patch
        if missing:
            x = torch.cat([x, x[..., -1:].expand(*x.shape[:-1], missing)], -1)
        x = self.patches(x)
        return x + self.positions(x)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        x = x.mT
        if index > 0 and not self.isotropic:
            x = self.mergings[index - 1](x)
        return self.blocks[index](x).mT

    def pool(self, last: Tensor) -> Tensor:
        """LayerNorm, the mean over time, then dropout."""
        return self.dropout(self.norm(last.mT).mean(1))

    def tokens(self, last: Tensor) -> Tensor:
        """The last map, after LayerNorm `(B, S, C_4)`."""
        return self.norm(last.mT)


@encoder("vit1d", eats="series")
class Vit1d(Transformer1d):
    """Pre-norm transformer over a series `(B, axes, n)` at one scale: all four grids are n/P, for patches of P samples.

    The blocks of a ViT (Dosovitskiy et al., 2021) in four groups. It differs from `transformer1d` in that neighbours
    are not joined, and has that one's patches and positions; there is no class token.

    Args:
        in_channels: Axes of the sensor.
        width: C of every stage, a multiple of 16; a head of the attention has 16.
        depths: Blocks of each stage.
        patch: P.
        dropout: Share of the entries that training drops in the blocks and of the embedding.
    """

    isotropic = True

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 128,
        depths: Sequence[int] = (1, 1, 1, 1),
        patch: int = 8,
        dropout: float = 0.1,
    ) -> None:
        if width < HEAD_WIDTH or width % HEAD_WIDTH:
            raise ParameterError(f"width = {width!r}: expected a positive multiple of {HEAD_WIDTH}", "width")
        super().__init__(in_channels, widths=(width,) * 4, depths=depths, patch=patch, dropout=dropout)


def _block(width: int, dropout: float) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        width,
        width // HEAD_WIDTH,
        dim_feedforward=2 * width,
        dropout=dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
