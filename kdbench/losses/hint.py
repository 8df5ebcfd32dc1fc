"""FitNets: the student's intermediate maps are drawn to the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import unknown_value
from kdbench.losses.maps import align_maps, check_channels, stage_pairs
from kdbench.registry import loss

_REDUCTIONS = ("mean", "sum", "paper")


@loss("hint", on="stages")
def hint(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    stages: Sequence[int] | None = (1,),
    reduction: Literal["mean", "sum", "paper"] = "mean",
    squash: bool = False,
) -> Tensor:
    """Squared difference between the student's maps and the teacher's at the middle of the networks.

    `L = sum_l mean (r(F_s^l) - F_t^l)^2`, the mean over all entries, as RepDistiller, lenscloth/RKD and
    Knowledge-Distillation-Zoo have it. Romero et al., ICLR 2015, eq. 3, print `1/2 ||u_h - r(v_g)||^2` a sample: that
    is `reduction="paper"`. The regressor r is the learnt linear along the channels that stands on the student's side
    where the widths differ.

    With `squash` it is the hallucination loss of Hoffman, Gupta and Darrell, CVPR 2016, eq. 1, which Garcia, Morerio
    and Murino, ECCV 2018, sum over all entries: the difference of `sigmoid` of both maps.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached. Unlike grids are aligned by `align_maps`.
        stages: Indices of the stages that are compared and summed; None for all. The second of four by default.
        reduction: `mean` over all entries, `sum` over all, or `paper`: half the sum of a sample, mean over the samples.
        squash: Put both maps through a sigmoid first.

    Raises:
        UsageError: A parameter has no such value, a stage does not exist in both networks, or channels differ.
    """
    if reduction not in _REDUCTIONS:
        raise unknown_value("reduction", reduction, _REDUCTIONS, of="hint")
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = align_maps(*maps)
        check_channels("hint", own, target)
        if squash:
            own, target = own.sigmoid(), target.sigmoid()
        term = F.mse_loss(own, target, reduction="mean" if reduction == "mean" else "sum")
        terms.append(term / (2 * len(own)) if reduction == "paper" else term)
    return torch.stack(terms).sum()
