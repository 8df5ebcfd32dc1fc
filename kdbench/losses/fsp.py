"""Flow of the solution procedure: how one stage's map turns into the next one's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import ParameterError, unknown_value
from kdbench.losses.maps import check_channels, pooled_to_smaller, stage_pairs, without_time
from kdbench.losses.numerics import without_autocast
from kdbench.registry import loss
from kdbench.text.wording import counted, inflected

_POOLS = ("max", "average")
_REDUCTIONS = ("sum", "mean")


@loss("fsp", on="stages")
def solution_flow(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    stages: Sequence[int] | None = None,
    pool: Literal["max", "average"] = "max",
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Squared difference between the flows from each chosen stage to the next chosen one.

    The flow of a sample is `G_ij = 1/N sum_n F1_i(n) F2_j(n)` over the N positions `(C1, C2)`, and
    `L = 1/B sum_b sum_l ||G_t^l - G_s^l||_F^2` (Yim et al., CVPR 2017, eq. 1-2, all lambda 1). Where the grids of two
    stages differ, the larger is max-pooled, as in the paper; the grids of student and teacher need not agree. A clip
    against an image is averaged over its time.

    RepDistiller and Knowledge-Distillation-Zoo average-pool and take the mean over the matrix's entries:
    `pool="average", reduction="mean"`. torchdistill sums the L2 norms of the matrix's columns without squaring them,
    which is another loss.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached.
        stages: Indices of the stages, at least two; None for all.
        pool: `max` or `average`.
        reduction: Over the entries of the matrices, `sum` or `mean`.

    Raises:
        UsageError: A parameter has no such value, fewer than two stages are chosen or one does not exist in both
            networks, or channels differ.
    """
    if pool not in _POOLS:
        raise unknown_value("pool", pool, _POOLS, of="fsp")
    if reduction not in _REDUCTIONS:
        raise unknown_value("reduction", reduction, _REDUCTIONS, of="fsp")
    maps = [without_time(*pair) for pair in stage_pairs(student, teacher, stages)]
    if len(maps) < 2:
        raise ParameterError(
            f"fsp: {counted(len(maps), 'stage')} {inflected(len(maps), 'is')} chosen; a flow leads from one "
            "stage to another, expected two",
            instead={"stages": [-2, -1]},
        )
    terms = []
    for (own, target), (own_next, target_next) in pairwise(maps):
        check_channels("fsp", own, target)
        check_channels("fsp", own_next, target_next)
        difference = (_flow(own, own_next, pool) - _flow(target, target_next, pool)).square()
        terms.append(difference.sum() / len(own) if reduction == "sum" else difference.mean())
    return torch.stack(terms).sum()


def _flow(first: Tensor, second: Tensor, pool: Literal["max", "average"]) -> Tensor:
    first, second = (x.flatten(2) for x in pooled_to_smaller(first, second, pool=pool))
    with without_autocast(first):
        return first @ second.mT / first.shape[2]
