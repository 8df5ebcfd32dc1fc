"""Feature maps of two networks on one grid, whatever their ranks and resolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError, UsageError
from kdbench.losses._ops import computed_by
from kdbench.losses._ops.window_max import WindowMax
from kdbench.losses.numerics import at_least_float32, precision_of
from kdbench.text.wording import counted
from kdbench.types import Widths

_POOLS: dict[str, dict[int, Callable[..., Tensor]]] = {
    "average": {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d},
    "max": {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d},
}
_RANKS = (1, 2, 3)
_IMAGE, _CLIP = 2, 3
_MOST_SHIFTS = 8


def align_maps(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Brings the maps of one stage to one grid.

    A clip against an image is averaged over its time. Maps whose ranks still differ (a series against an image or a
    clip) become sequences of tokens in the order of their axes, time first. Then both are pooled, by adaptive
    averages, to the smaller size along each axis.

    Args:
        student: Map `(B, C, *grid)` with one, two or three axes in the grid.
        teacher: Map `(B, C', *grid')`.

    Returns:
        Both maps, float32 or more, with their own channels and one common grid.

    Raises:
        UsageError: The maps are of unlike batches, or a grid has no axis or more than three.
    """
    return pooled_to_smaller(*of_one_rank(student, teacher))


def of_one_rank(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of one stage with equally many axes, as `align_maps` makes them, each on its own grid.

    Raises:
        UsageError: As `align_maps`.
    """
    student, teacher = without_time(student, teacher)
    if student.dim() != teacher.dim():
        student, teacher = student.flatten(2), teacher.flatten(2)
    return student, teacher


def in_cells(student: Tensor, teacher: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Means of two maps of one rank over the same few cells.

    Args:
        student: Map `(B, C, *grid)`.
        teacher: Map `(B, C', *grid')` with as many axes.
        cells: Cells along an axis; an axis with fewer positions in one of the maps has one for each.

    Returns:
        Both maps `(B, C, N)` and `(B, C', N)`, N the number of cells, float32 or more.
    """
    grid = [min(cells, *sizes) for sizes in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    return _pooled(student, grid, "average").flatten(2), _pooled(teacher, grid, "average").flatten(2)


def meeting_axes(student: Widths, teacher: Widths) -> int:
    """Axes of the grid on which `align_maps` brings the maps of two networks; the most there are where not known."""
    known = {student.axes, teacher.axes}
    if len(known) == 1:
        return student.axes or _CLIP
    return _CLIP if None in known else _IMAGE if known == {_IMAGE, _CLIP} else 1


def without_time(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of one stage, a clip's averaged over its time where the other is an image.

    Raises:
        UsageError: As `align_maps`.
    """
    for owner, feature in (("student", student), ("teacher", teacher)):
        if feature.dim() - 2 not in _RANKS:
            raise UsageError(
                f"the {owner}'s map has shape {tuple(feature.shape)}; expected (batch, channels) and one to three axes",
                hint="Bring the channels to the second axis, before the axes of time, height and width.",
            )
    if len(student) != len(teacher):
        raise UsageError(
            f"the student's map holds {counted(len(student), 'sample')}, the teacher's {len(teacher)}",
            hint="Give it what both networks make of the same batch.",
        )
    if {student.dim() - 2, teacher.dim() - 2} == {_IMAGE, _CLIP}:
        student, teacher = _mean_over_time(student), _mean_over_time(teacher)
    return student, teacher


def pooled_to_smaller(
    first: Tensor, second: Tensor, *, pool: Literal["average", "max"] = "average"
) -> tuple[Tensor, Tensor]:
    """Two maps of one rank, each pooled adaptively to the smaller size along each axis; float32 or more."""
    grid = [min(sizes) for sizes in zip(first.shape[2:], second.shape[2:], strict=True)]
    return _pooled(first, grid, pool), _pooled(second, grid, pool)


def pooled_to(feature: Tensor, grid: Sequence[int]) -> Tensor:
    """A map `(B, C, *sizes)` pooled by adaptive averages to as many other sizes; float32 or more."""
    return _pooled(feature, list(grid), "average")


def check_channels(name: str, student: Tensor, teacher: Tensor) -> None:
    """Refuses maps or vectors whose channels differ.

    Args:
        name: The loss, for the message.
        student: `(B, C, ...)`.
        teacher: `(B, C', ...)`.

    Raises:
        UsageError: C and C' differ.
    """
    if student.shape[1] != teacher.shape[1]:
        raise UsageError(
            f"{name}: the student has {counted(student.shape[1], 'channel')}, the teacher "
            f"{teacher.shape[1]}; expected as many",
            hint="In a recipe a learnt linear brings the student's to the teacher's; called directly, project first.",
        )


def stage_pairs(
    student: Sequence[Tensor], teacher: Sequence[Tensor], stages: Sequence[int] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The maps of the chosen stages, student's and teacher's; the teacher's detached.

    Args:
        student: The student's maps, one per stage.
        teacher: The teacher's.
        stages: Indices of stages, negative ones from the end; None for all.

    Raises:
        UsageError: As `chosen_stages`.
    """
    for index in chosen_stages(stages, len(student), len(teacher)):
        yield student[index], teacher[index].detach()


def chosen_stages(stages: Sequence[int] | None, student: int, teacher: int, *, key: str = "stages") -> tuple[int, ...]:
    """Indices of the stages that a loss compares.

    Args:
        stages: What the recipe asks for; None for all.
        student: Number of the student's stages.
        teacher: Number of the teacher's.
        key: The parameter that the stages, or the one stage, come from.

    Raises:
        UsageError: A stage does not exist in both networks, none is chosen, or all are asked for where the numbers
            of stages differ.
    """
    fewest = min(student, teacher)
    last = {key: -1 if key == "stage" else list(range(-min(2, fewest), 0))}
    if stages is None:
        if student != teacher:
            raise ParameterError(
                f"the student has {counted(student, 'stage')} and the teacher {teacher}, and all are compared",
                instead=last,
            )
        return tuple(range(student))
    if not stages:
        raise ParameterError("stages is empty; expected the indices of the stages to compare", instead=last)
    for index in stages:
        if not -fewest <= index < fewest:
            raise ParameterError(
                f"stage {index} is asked for; the student has {counted(student, 'stage')} and the teacher {teacher}, "
                "counted from 0, or from -1 for the last",
                instead=last,
            )
    return tuple(stages)


def _mean_over_time(feature: Tensor) -> Tensor:
    if feature.dim() - 2 != _CLIP:
        return feature
    # The gradient of a mean is a tensor as large as the clip, that of a sum a view.
    return feature.sum(2, dtype=precision_of(feature)) / feature.shape[2]


def _pooled(feature: Tensor, grid: list[int], pool: str) -> Tensor:
    feature = at_least_float32(feature)
    sizes = feature.shape[2:]
    if list(sizes) == grid:
        return feature
    window = tuple(size // cells for size, cells in zip(sizes, grid, strict=True))
    divides = all(size % cells == 0 for size, cells in zip(sizes, grid, strict=True))
    if pool == "max" and divides and math.prod(window) <= _MOST_SHIFTS:
        return _window_max(feature, window)
    return _POOLS[pool][len(grid)](feature, grid)


@computed_by(WindowMax)
def _window_max(feature: Tensor, window: tuple[int, ...]) -> Tensor:
    """Maxima of windows without overlap; the gradient goes to the first maximum of a window."""
    return {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(window)](feature, window)
