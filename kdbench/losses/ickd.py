"""Inter-channel correlation: which channels of a map respond together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.losses.maps import check_channels, stage_pairs, without_time
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.registry import loss

_SILENT = 1e-24


@loss("ickd", on="stages")
def inter_channel_correlation(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, stages: Sequence[int] | None = (-1,)
) -> Tensor:
    """Squared difference between the channel correlations of both networks, sample by sample.

    `G = F F^T` of a sample's map `(C, positions)`, each row divided by its L2 norm, and
    `L = sum_l 1/(B C) sum_b ||G_s^l - G_t^l||_F^2` (Liu et al., ICCV 2021; rows and divisor as the released code has
    them, another power of C belongs to the weight). The grids need not agree; a clip against an image is averaged over
    its time. The released code puts a linear and a BatchNorm before the student's map; here the learnt
    linear stands there only where the widths differ, so that no sample depends on the others. In float32, values below
    1e-7 are rounding and may be negative.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached.
        stages: Indices of the stages that are compared and summed; None for all. The last one by default.

    Raises:
        UsageError: A stage does not exist in both networks, or channels differ.
    """
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = (at_least_float32(feature).flatten(2) for feature in without_time(*maps))
        check_channels("ickd", own, target)
        with without_autocast(own):
            terms.append(_difference(_scaled(own), _scaled(target)).mean())
    return torch.stack(terms).sum()


def _scaled(rows: Tensor) -> Tensor:
    """A sample's scale has no effect: its largest entry becomes 1, which keeps the products below in range."""
    largest = rows.detach().abs().amax((1, 2), keepdim=True)
    return rows / largest.where(largest > 0, 1)


def _difference(own: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the rows `(B, C)`, `|g_s|^2 + |g_t|^2 - 2 <g_s, g_t>` of rows of length 1 or 0."""
    if max(own.shape[2], target.shape[2]) < own.shape[1]:
        # F (F^T F) F^T holds the products of the rows of F F^T, and no matrix of the channels is made.
        within, of_target, between = (
            ((a @ (a.mT @ b)) * b).sum(2) for a, b in ((own, own), (target, target), (own, target))
        )
    else:
        ours, theirs = own @ own.mT, target @ target.mT
        within, of_target, between = ((a * b).sum(2) for a, b in ((ours, ours), (theirs, theirs), (ours, theirs)))
    inverse, inverse_of_target = _inverse_root(within), _inverse_root(of_target)
    lengths = (inverse.detach() > 0).to(own.dtype) + (inverse_of_target > 0).to(own.dtype)
    return lengths - 2 * between * inverse * inverse_of_target


def _inverse_root(squares: Tensor) -> Tensor:
    """`1/sqrt`, and 0 for the row of a silent channel, which has no direction."""
    heard = squares > _SILENT
    return squares.where(heard, 1).rsqrt().where(heard, 0)
