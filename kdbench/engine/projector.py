"""The learnt linear that stands on the student's side where widths differ."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kdbench.losses.maps import chosen_stages
from kdbench.types import Widths


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


def projector_of(student: Widths, teacher: Widths, field: str, stages: Sequence[int] | None) -> nn.Module:
    """What brings a student's field to a teacher's widths; nothing is changed where they are equal.

    Args:
        student: The student's widths.
        teacher: The teacher's.
        field: Name of the field.
        stages: Of two networks of unlike depth, the stages that are compared; None for all.

    Raises:
        UsageError: As `chosen_stages`.
    """
    ours, theirs = student.of(field), teacher.of(field)
    if ours == theirs or ours is None or theirs is None:
        return nn.Identity()
    if not isinstance(ours, int) and not isinstance(theirs, int) and len(ours) != len(theirs):
        # The stages that are not compared stay as they are.
        wanted = list(ours)
        for index in chosen_stages(stages, len(ours), len(theirs)):
            wanted[index] = theirs[index]
        return Projector(ours, wanted)
    return Projector(ours, theirs)


def stages_of(component: Any, params: Mapping[str, Any]) -> Sequence[int] | None:
    """The stages that a loss compares, as the recipe says or by its default; None for all."""
    known = inspect.signature(component.__init__ if inspect.isclass(component) else component).parameters
    for name in ("stages", "stage"):
        if name in known:
            asked = params.get(name, known[name].default)
            return (asked,) if isinstance(asked, int) else asked
    return None


def _along_channels(layer: nn.Module, value: Tensor) -> Tensor:
    # Features made under autocast are bf16; losses run outside it.
    if isinstance(layer, nn.Linear):
        value = value.to(layer.weight.dtype)
    return layer(value.movedim(1, -1)).movedim(-1, 1)


def _many(widths: int | Sequence[int]) -> Sequence[int]:
    return [widths] if isinstance(widths, int) else widths
