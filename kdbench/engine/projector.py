"""The learnt linear that stands on the student's side where widths differ."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Projector(nn.Module):
    """Maps a student's field to the teacher's width; trained with the student, saved apart, never exported.

    Args:
        ours: The student's width, or its four widths for stages.
        theirs: The teacher's.

    Maps `(B, C, *grid)` along their channels and vectors `(B, D)` along their last axis.
    """

    def __init__(self, ours: int | Sequence[int], theirs: int | Sequence[int]) -> None:
        super().__init__()
        pairs = zip(_many(ours), _many(theirs), strict=True)
        self.layers = nn.ModuleList(nn.Identity() if a == b else nn.Linear(a, b) for a, b in pairs)

    def forward(self, value: Tensor | Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Projects one field, `(B, D)` or the tuple of stage maps."""
        if isinstance(value, Tensor):
            return _along_channels(self.layers[0], value)
        return tuple(_along_channels(layer, stage) for layer, stage in zip(self.layers, value, strict=True))


def _along_channels(layer: nn.Module, value: Tensor) -> Tensor:
    # Features made under autocast are bf16; losses run outside it.
    if isinstance(layer, nn.Linear):
        value = value.to(layer.weight.dtype)
    return layer(value.movedim(1, -1)).movedim(-1, 1)


def _many(widths: int | Sequence[int]) -> Sequence[int]:
    return [widths] if isinstance(widths, int) else widths
