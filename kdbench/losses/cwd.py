"""Channel-wise distillation: where each channel of a map responds, as a distribution over the positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_positive
from kdbench.losses.maps import align_maps, check_channels, stage_pairs
from kdbench.registry import loss


@loss("cwd", on="stages", labels="unused")
def channel_wise(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    temperature: float = 4.0,
    stages: Sequence[int] | None = None,
) -> Tensor:
    """KL divergence of the student's channels from the teacher's, each a softmax over the positions.

    `p_c = softmax_n (F_c(n) / T)` over the N positions of a sample's channel c, and
    `L = sum_l T^2 / (B C) sum_bc KL(p_c(t) || p_c(s))` (Shu et al., ICCV 2021). The authors' code computes the same.
    They put a linear before the student's map in any case; here one stands there where the widths differ. A map of one
    position is the same distribution in all networks: its term is zero.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached. Unlike grids are aligned by `align_maps`.
        temperature: T > 0.
        stages: Indices of the stages that are compared and summed; None for all.

    Raises:
        UsageError: The temperature is not positive, a stage does not exist in both networks, or channels differ.
    """
    check_positive("cwd", temperature=temperature)
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = align_maps(*maps)
        check_channels("cwd", own, target)
        log_own, log_target = ((feature.flatten(2) / temperature).log_softmax(2) for feature in (own, target))
        divergence = F.kl_div(log_own, log_target, reduction="sum", log_target=True)
        terms.append(divergence * temperature**2 / (own.shape[0] * own.shape[1]))
    return torch.stack(terms).sum()
