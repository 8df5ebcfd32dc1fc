"""Late fusion by concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.fusions.base import JointFusion, Shape
from kdbench.registry import fusion


@fusion("concat")
class Concat(JointFusion):
    """Concatenates the branches after the last stage, under one head: embedding `(B, Σ D_m)`, maps `(B, m·C, *grid)`.

    With `hidden`, a layer stands between: `h = dropout(ReLU(W [h_1 … h_m] + b))`, as in keyless attention's system.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        hidden: Width of that layer; null leaves it out.
        dropout: Share of its outputs that training drops.

    Raises:
        UsageError: A hidden width below 1, a dropout outside [0, 1), or one without that layer.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        maps_of: str | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if hidden is not None and hidden < 1:
            raise ParameterError(f"concat: hidden = {hidden}, expected a positive width", instead={"hidden": 128})
        if not 0 <= dropout < 1:
            raise ParameterError(f"concat: dropout = {dropout}, expected a number in [0, 1)", "dropout")
        if dropout and hidden is None:
            raise ParameterError(f"concat: dropout = {dropout} has no effect without hidden", instead={"hidden": 128})
        self.hidden = hidden
        self.layer: nn.Module = nn.Identity()
        if hidden is not None:
            self.layer = nn.Sequential(nn.Linear(self._concatenated, hidden), nn.ReLU(), nn.Dropout(dropout))

    @property
    def _concatenated(self) -> int:
        return sum(shape.width for shape in self.shapes)

    def joined_channels(self) -> tuple[int, ...]:
        """See the base class."""
        return tuple(self.sources * count for count in self.channels)

    def joined_width(self) -> int:
        """See the base class."""
        return self.hidden or self._concatenated

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Concatenates along the channels; see the base class."""
        maps = self.joined_maps(stages, lambda maps: torch.cat(list(maps), dim=1))
        return maps, self.layer(torch.cat(embeddings, dim=1))
