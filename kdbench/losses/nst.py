"""Neuron selectivity transfer: what the channels respond to, as a distribution over the positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import unknown_value
from kdbench.losses.maps import align_maps, stage_pairs
from kdbench.losses.numerics import unit, without_autocast
from kdbench.registry import loss

_KERNELS = ("polynomial", "linear", "gaussian")


@loss("nst", on="stages", project=False)
def neuron_selectivity(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    kernel: Literal["polynomial", "linear", "gaussian"] = "polynomial",
    stages: Sequence[int] | None = None,
) -> Tensor:
    """Squared maximum mean discrepancy between the channels of both networks, mean over the samples.

    With `f_c` the map of channel c over its positions, divided by its L2 norm,
    `L = sum_l mean_b [mean_cc' k(t_c, t_c') + mean_cc' k(s_c, s_c') - 2 mean_cc' k(s_c, t_c')]`
    (Huang and Wang, arXiv 1707.01219, eq. 5-8). The kernels are `(x . y)^2` (polynomial, d = 2, c = 0), `x . y`
    (linear), and `exp(-||x - y||^2 / (2 v))` with v the mean squared distance of a sample's student-teacher pairs of
    channels (gaussian; v gets no gradient). The networks need no common width; `align_maps` aligns unlike grids.

    The polynomial kernel goes through the Gram matrices of the channels or of the positions, whichever are smaller.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's; detached.
        kernel: `polynomial`, `linear` or `gaussian`.
        stages: Indices of the stages that are compared and summed; None for all.

    Raises:
        UsageError: There is no such kernel, or a stage does not exist in both networks.
    """
    if kernel not in _KERNELS:
        raise unknown_value("kernel", kernel, _KERNELS, of="nst")
    discrepancy = {"polynomial": _polynomial, "linear": _linear, "gaussian": _gaussian}[kernel]
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = (unit(feature.flatten(2), 2) for feature in align_maps(*maps))
        with without_autocast(own):
            terms.append(discrepancy(own, target))
    return torch.stack(terms).sum()


def _polynomial(own: Tensor, target: Tensor) -> Tensor:
    if own.shape[2] <= min(own.shape[1], target.shape[1]):
        # The mean of (x . y)^2 is the inner product of the positions' second moments.
        moments, targets = (x.mT @ x / x.shape[1] for x in (own, target))
        return (moments - targets).square().sum((1, 2)).mean()
    products = (a @ b.mT for a, b in ((own, own.detach()), (target, target), (own, target)))
    within, of_target, between = (product.square().mean() for product in products)
    # Both factors of the first product are the student's: twice the gradient of one of them.
    return 2 * within - within.detach() + of_target - 2 * between


def _linear(own: Tensor, target: Tensor) -> Tensor:
    return (own.mean(1) - target.mean(1)).square().sum(1).mean()


def _gaussian(own: Tensor, target: Tensor) -> Tensor:
    between = _distances(own, target)
    variance = between.detach().mean((1, 2), keepdim=True)
    # A sample whose channels are all one point is told apart from nothing: every kernel value is 1.
    scale = -0.5 / variance.where(variance > 0, torch.inf)
    values = (_distances(own, own), _distances(target, target), between)
    within, of_target, across = ((distances * scale).exp().mean() for distances in values)
    return within + of_target - 2 * across


def _distances(first: Tensor, second: Tensor) -> Tensor:
    squares = first.square().sum(2)[:, :, None] + second.square().sum(2)[:, None, :]
    return (squares - 2 * first @ second.mT).clamp_min(0)
