"""Soft targets of several teachers: the student follows the mean of their class probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import UsageError, unknown_value
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("st_mix", on="logits", project=False, all_teachers=True)
def mixed_soft_targets(
    student: Tensor,
    teachers: Sequence[Tensor],
    *,
    temperature: float = 4.0,
    scale: Literal["t2", "none"] = "t2",
) -> Tensor:
    """KL divergence of the student's softened probabilities from the mean of the teachers'.

    `L = T^2 / B sum_b KL(1/M sum_m softmax(t_m,b / T) || softmax(s_b / T))`: the uniform mix of single-modality
    teachers in the MMD baseline of Kong et al., ICCV 2019, whose temperature is not published. With one teacher it is
    `st`; with several it is at most the mean of their `st`, since the divergence is convex, and it is zero where the
    student has found the mix.

    Args:
        student: Logits `(B, K)`.
        teachers: Logits `(B, K)` of each teacher branch; detached.
        temperature: T > 0.
        scale: `t2` or `none`, whether the factor `T^2` is there.

    Raises:
        UsageError: A parameter has no such value, there is no teacher, or the logits have unlike shapes.
    """
    check_positive("st_mix", temperature=temperature)
    if scale not in ("t2", "none"):
        raise unknown_value("scale", scale, ("t2", "none"), of="st_mix")
    if not teachers:
        raise UsageError(
            "st_mix mixes the soft targets of teachers, and there is none",
            hint="Give it the logits of one teacher or more.",
        )
    for teacher in teachers:
        check_scores("st_mix", student, teacher)
    log_student = F.log_softmax(at_least_float32(student) / temperature, dim=1)
    softened = torch.stack([at_least_float32(teacher).detach() / temperature for teacher in teachers])
    # The mean of the probabilities, taken in logarithms, where none of them underflows.
    log_mean = F.log_softmax(softened, dim=2).logsumexp(0) - math.log(len(teachers))
    divergence = F.kl_div(log_student, log_mean, reduction="batchmean", log_target=True)
    return divergence * temperature**2 if scale == "t2" else divergence
