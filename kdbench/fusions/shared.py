"""A space that the branches share, by a linear layer each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.fusions.base import JointFusion, Shape
from kdbench.registry import fusion


@fusion("shared")
class Shared(JointFusion):
    """Projects each branch linearly to a space that all share, under one head: `P_m = W_m h_m`, `h = [P_1 … P_M]`.

    The loss `shared_space` draws the projections of a trial together and lets each of them tell the class. The head
    over all of them is linear, so that its scores are the mean of those of the branches, `z_m = M V_m P_m + b` with
    V_m its columns for branch m.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        width: Of the shared space.

    Raises:
        UsageError: A width below 1.
    """

    def __init__(self, shapes: Sequence[Shape], *, maps_of: str | None = None, width: int = 128) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if width < 1:
            raise ParameterError(f"shared: width = {width}, expected a positive one", "width")
        self.space = width
        self.layers = nn.ModuleList(nn.Linear(shape.width, width, bias=False) for shape in self.shapes)

    @property
    def shared_projections(self) -> tuple[nn.Linear, ...]:
        """See the base class."""
        return tuple(layer for layer in self.layers if isinstance(layer, nn.Linear))

    def joined_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return tuple(self.sources * count for count in self.channels)

    def joined_width(self) -> int:
        """See the base class."""
        return self.sources * self.space

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Projects each embedding; maps are concatenated along the channels. See the base class."""
        maps = self.joined_maps(stages, lambda maps: torch.cat(list(maps), dim=1))
        return maps, torch.cat([layer(x) for layer, x in zip(self.layers, embeddings, strict=True)], dim=1)
