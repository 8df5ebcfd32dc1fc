"""Late fusion by concatenation."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.fusions.base import JointFusion
from kdbench.registry import fusion


@fusion("concat")
class Concat(JointFusion):
    """Concatenates the branches after the last stage, under one head: embedding `(B, Σ D_m)`, maps `(B, m·C, *grid)`.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
    """

    def joined_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return tuple(self.sources * count for count in self.channels)

    def joined_width(self) -> int:
        """See the base class."""
        return sum(shape.width for shape in self.shapes)

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Concatenates along the channels; see the base class."""
        return self.joined_maps(stages, lambda maps: torch.cat(list(maps), dim=1)), torch.cat(embeddings, dim=1)
