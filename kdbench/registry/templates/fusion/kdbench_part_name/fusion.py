"""The fusion `part_name`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from kdbench import fusion
from kdbench.fusions.base import Fusion, Shape
from torch import Tensor, nn


@fusion("part_name")
class PartName(Fusion):
    """Adds to each branch a learnt share of the mean over all branches, after the stages 0, 1 and 2.

    `h_m <- h_m + a_stage * 1/M sum_k h_k`; each branch keeps its own head.

    Args:
        shapes: What each branch hands out: its channels and its width; `self.sources` is M.
        share: The value from which the shares are learnt. A recipe sets it: `fusion: {name: part_name, share: 0.5}`.
    """

    def __init__(self, shapes: Sequence[Shape], *, share: float = 0.1) -> None:
        super().__init__(shapes)
        self.shares = nn.Parameter(torch.full((3,), share))

    def between(self, stage: int, maps: list[Tensor]) -> list[Tensor]:
        """Maps `(B, C, *grid)` of the branches to maps of the same shapes."""
        exchanged = self.shares[stage] * torch.stack(maps).mean(0)
        return [branch + exchanged for branch in maps]
