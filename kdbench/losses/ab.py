"""Activation boundaries: which neurons are active, with a margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import unknown_value
from kdbench.losses.checks import check_positive
from kdbench.losses.maps import align_maps, check_channels, stage_pairs
from kdbench.registry import loss

_REDUCTIONS = ("sum", "mean")


@loss("ab", on="stages", labels="unused")
def activation_boundaries(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    margin: float = 1.0,
    stages: Sequence[int] | None = None,
    decay: float = 0.5,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Squared distance of the student's responses to the teacher's side of zero, and a margin beyond.

    `d = relu(m - s)` where the teacher's response is above zero and `d = relu(m + s)` elsewhere, and
    `L = sum_l decay^(L-l) 1/B sum d^2` (Heo et al., AAAI 2019, the relaxed loss of their code, whose factor 3/1000
    belongs to the weight). A student that is equal to the teacher keeps a loss where responses are within the margin.
    Knowledge-Distillation-Zoo takes the mean over all entries: `reduction="mean"`.

    Three deviations from the paper. It trains the student with this loss alone before anything else; here it stands
    beside the others. It compares values before the activation; here they are what the encoder hands on, so that after
    a ReLU 0 counts as inactive. And before the student's map it has a linear and a BatchNorm; here a linear, where the
    widths differ.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached. Unlike grids are aligned by `align_maps`.
        margin: m > 0.
        stages: Indices of the stages that are compared; None for all.
        decay: Weight of a stage over that of the next chosen one, positive.
        reduction: Over the entries of a sample, `sum` or `mean`; the mean over the samples.

    Raises:
        UsageError: A parameter has no such value, a stage does not exist in both networks, or channels differ.
    """
    check_positive("ab", margin=margin, decay=decay)
    if reduction not in _REDUCTIONS:
        raise unknown_value("reduction", reduction, _REDUCTIONS, of="ab")
    total: Tensor | None = None
    for maps in stage_pairs(student, teacher, stages):
        own, target = align_maps(*maps)
        check_channels("ab", own, target)
        squares = (margin - torch.where(target > 0, own, -own)).relu().square()
        term = squares.mean() if reduction == "mean" else squares.sum() / len(own)
        total = term if total is None else decay * total + term
    assert total is not None
    return total
