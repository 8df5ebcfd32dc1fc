"""Late fusion by multiplication."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from kdbench.fusions.base import JointFusion
from kdbench.registry import fusion


@fusion("hadamard")
class Hadamard(JointFusion):
    """Multiplies the branches entry by entry after the last stage, under one head: the shapes of one branch.

    `h = Π_m h_m`, and the maps alike. Where one source is zero, the others get no gradient.

    Args:
        shapes: What each branch hands out; the embeddings are equally wide.
        maps_of: See `JointFusion`.
    """

    joins = "widths"

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Multiplies maps and embeddings over the branches; see the base class."""
        # The gradient of torch.prod counts zeros on the host, which would make it wait for the device.
        maps = self.joined_maps(stages, lambda maps: functools.reduce(torch.mul, maps))
        return maps, functools.reduce(torch.mul, embeddings)
