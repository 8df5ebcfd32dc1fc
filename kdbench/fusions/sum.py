"""Late fusion by addition."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.fusions.base import Fusion
from kdbench.registry import fusion


@fusion("sum")
class Sum(Fusion):
    """Adds the branches after the last stage, under one head: maps `(B, C, *grid)`, embedding `(B, D)`.

    `h = Σ_m h_m`, and the maps alike. The branches have one architecture, so their shapes agree.
    """

    joint = True

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Adds maps and embeddings over the branches; see the base class."""
        return tuple(torch.stack(maps).sum(0) for maps in zip(*stages, strict=True)), torch.stack(embeddings).sum(0)
