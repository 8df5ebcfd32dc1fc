"""PKD: the Pearson correlation of both networks' channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_positive
from kdbench.losses.maps import align_maps, check_channels, stage_pairs
from kdbench.registry import loss

_ROUNDING = 1e-6
"""A channel that varies by less than this share of its largest value is constant up to rounding."""


@loss("pkd", on="stages", labels="unused")
def pearson(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    stages: Sequence[int] | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Half the squared difference of the standardised channels, which is 1 minus their Pearson correlation.

    `z_c = (F_c - mean F_c) / (std F_c + eps)`, mean and unbiased standard deviation over the samples and positions of
    channel c, and `L = sum_l 1/2 mean (z(t) - z(s))^2`, the mean over all entries (Cao et al., NeurIPS 2022, as the
    code in mmrazor has it). There, maps of unlike sizes are resized by bilinear interpolation; here `align_maps` pools
    them. A channel that is constant over the batch has no correlation: it is compared as zeros and gets no gradient.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached.
        stages: Indices of the stages that are compared and summed; None for all.
        eps: Added to the standard deviations, positive.

    Raises:
        UsageError: `eps` is not positive, a stage does not exist in both networks, or channels differ.
    """
    check_positive("pkd", eps=eps)
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = align_maps(*maps)
        check_channels("pkd", own, target)
        terms.append(F.mse_loss(_standardised(own, eps), _standardised(target, eps)) / 2)
    return torch.stack(terms).sum()


def _standardised(feature: Tensor, eps: float) -> Tensor:
    """Channels `(C, B N)` of mean 0 and deviation 1."""
    values = feature.transpose(0, 1).flatten(1)
    centred = values - values.mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True) / max(1, values.shape[1] - 1)
    largest = values.detach().abs().amax(1, keepdim=True)
    varies = variance > (_ROUNDING * largest).square()
    # A root of 0 would have no gradient, even where its result is set to 0.
    return (centred / (variance.where(varies, 1).sqrt() + eps)).where(varies, 0)
