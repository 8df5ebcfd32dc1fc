"""A small net of depthwise separable convolutions over a series."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from kdbench.encoders.conv import ConvEncoder, normalise
from kdbench.errors import ParameterError
from kdbench.registry import encoder


@encoder("separable1d", eats="series")
class Separable1d(ConvEncoder):
    """Four depthwise separable convolutions over a series `(B, axes, n)`; grids n/2, n/4, n/8, n/16.

    Each stage is a convolution of every channel on its own and one of width 1 across the channels, a norm and a ReLU
    (Howard et al., MobileNets, 2017, without the norm between both). Light students of inertial series are built so,
    LHAR (Deng et al., IEEE JBHI 2023) among them, whose widths are not published. Arguments: see `ConvEncoder`.

    Args:
        in_channels: Axes.
        widths: C_1 … C_4.
        kernel: Samples that a depthwise filter spans, odd.
        norm: `batch` over the batch, or `group` for each sample.
        dropout: Share of the embedding's entries that training drops.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Sequence[int] = (64, 128, 128, 256),
        kernel: int = 5,
        norm: Literal["group", "batch"] = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, widths, norm, dropout)
        if not isinstance(kernel, int) or kernel < 1:
            raise ParameterError(f"kernel = {kernel!r}: expected a whole number of samples, at least 1", "kernel")
        self.first = nn.Identity()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(before, before, kernel, 2, kernel // 2, groups=before, bias=False),
                nn.Conv1d(before, width, 1, bias=False),
                normalise(norm, width, 1),
                nn.ReLU(),
            )
            for before, width in pairwise((in_channels, *widths))
        )
