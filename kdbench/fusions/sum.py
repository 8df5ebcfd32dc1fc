"""Late fusion by addition."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.fusions.base import JointFusion
from kdbench.registry import fusion


@fusion("sum")
class Sum(JointFusion):
    """Adds the branches after the last stage, under one head: maps `(B, C, *grid)`, embedding `(B, D)`.

    `h = Σ_m h_m`, and the maps alike.

    Args:
        shapes: What each branch hands out; the embeddings are equally wide.
        maps_of: See `JointFusion`.
    """

    joins = "widths"

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Adds maps and embeddings over the branches; see the base class."""
        return self.joined_maps(stages, lambda maps: torch.stack(list(maps)).sum(0)), torch.stack(embeddings).sum(0)
