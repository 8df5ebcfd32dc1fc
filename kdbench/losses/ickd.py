"""Inter-channel correlation: which channels of a map respond together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.losses.maps import check_channels, stage_pairs, without_time
from kdbench.losses.numerics import at_least_float32, unit, without_autocast
from kdbench.registry import loss


@loss("ickd", on="stages")
def inter_channel_correlation(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, stages: Sequence[int] | None = (-1,)
) -> Tensor:
    """Squared difference between the channel correlations of both networks, sample by sample.

    `G = F F^T` of a sample's map `(C, positions)`, each row divided by its L2 norm, and
    `L = sum_l 1/(B C) sum_b ||G_s^l - G_t^l||_F^2` (Liu et al., ICCV 2021; rows and divisor as the released code has
    them, another power of C belongs to the weight). The grids need not agree; a clip against an image is averaged over
    its time. The released code puts a linear and a BatchNorm before the student's map; here the learnt
    linear stands there only where the widths differ, so that no sample depends on the others.

    Args:
        student: The student's maps `(B, C, *grid)`, one a stage.
        teacher: The teacher's, with as many channels; detached.
        stages: Indices of the stages that are compared and summed; None for all. The last one by default.

    Raises:
        UsageError: A stage does not exist in both networks, or channels differ.
    """
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = without_time(*maps)
        check_channels("ickd", own, target)
        terms.append((_correlation(own) - _correlation(target)).square().sum((1, 2)).mean() / own.shape[1])
    return torch.stack(terms).sum()


def _correlation(feature: Tensor) -> Tensor:
    rows = at_least_float32(feature).flatten(2)
    with without_autocast(rows):
        # A row's scale cancels below; the mean in place of the sum keeps large maps in range.
        return unit(rows @ rows.mT / rows.shape[2], 2)
