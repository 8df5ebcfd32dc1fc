"""Soft targets: the student follows the teacher's softened class probabilities."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("st", on="logits", project=False)
def soft_targets(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    scale: Literal["t2", "none"] = "t2",
    reduction: Literal["batchmean", "mean", "sum"] = "batchmean",
    standardize: bool = False,
    eps: float = 1e-7,
) -> Tensor:
    """KL divergence of the softened class probabilities, teacher against student.

    `L = T^2 / B sum_b KL(softmax(t_b / T) || softmax(s_b / T))` (Hinton et al. 2015, section 2.1). The factor `T^2`
    keeps the gradient's size when T changes; `scale="none"` leaves it out, as eq. 19 of the SGM + FT paper prints it
    and as torchdistill's `KDLoss` does whenever it is used without the labels.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.
        temperature: T > 0.
        scale: `t2` or `none`.
        reduction: `batchmean` sums over the classes and averages over the samples; `mean` averages over both,
            `sum` over neither.
        standardize: Bring the logits of each sample to mean 0 and (unbiased) standard deviation 1 first (Sun et al.,
            CVPR 2024), which lets the student keep its own logit range. One class has the deviation 0.
        eps: Added to that standard deviation.

    Raises:
        UsageError: A parameter has no such value, or the logits have unlike shapes.
    """
    if temperature <= 0:
        raise ParameterError(f"st: temperature is {temperature}, expected a positive number", "temperature")
    if scale not in ("t2", "none"):
        raise unknown_value("scale", scale, ("t2", "none"), of="st")
    if reduction not in ("batchmean", "mean", "sum"):
        raise unknown_value("reduction", reduction, ("batchmean", "mean", "sum"), of="st")
    if student.shape != teacher.shape:
        raise UsageError(
            f"st: the student's logits are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}; "
            "both must score the same classes of the same trials",
            hint="Give it the logits of one batch from two networks that were built for the same classes.",
        )
    student, teacher = at_least_float32(student), at_least_float32(teacher).detach()
    if standardize:
        student, teacher = _standardized(student, eps), _standardized(teacher, eps)
    log_student = F.log_softmax(student / temperature, dim=1)
    soft_teacher = F.softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(log_student, soft_teacher, reduction="sum")
    if reduction != "sum":
        divergence = divergence / (student.numel() if reduction == "mean" else len(student))
    return divergence * temperature**2 if scale == "t2" else divergence


def _standardized(logits: Tensor, eps: float) -> Tensor:
    # One class has no spread, and one probability whatever its logit.
    spread = logits.std(1, correction=min(1, logits.shape[1] - 1), keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) / (spread + eps)
