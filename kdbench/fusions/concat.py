"""Late fusion by concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.fusions.base import Fusion
from kdbench.registry import fusion


@fusion("concat")
class Concat(Fusion):
    """Concatenates the branches after the last stage, under one head: maps `(B, m·C, *grid)`, embedding `(B, m·D)`."""

    joint = True

    def __init__(self, channels: Sequence[int], sources: int, width: int) -> None:
        super().__init__(channels, sources, width)
        self.out_channels = tuple(sources * count for count in channels)
        self.out_width = sources * width

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Concatenates along the channels; see the base class."""
        return tuple(torch.cat(maps, dim=1) for maps in zip(*stages, strict=True)), torch.cat(embeddings, dim=1)
