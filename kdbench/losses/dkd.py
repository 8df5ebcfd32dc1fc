"""Decoupled knowledge distillation: soft targets split into the target class and the rest."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_other_classes, check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.losses.targets import label_or_not, other_classes, target_class
from kdbench.registry import loss
from kdbench.types import Batch


@loss("dkd", on="logits", project=False, labels="optional")
def decoupled(
    student: Tensor,
    teacher: Tensor,
    *,
    batch: Batch,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """KL divergence of "the label or not", and of the other classes among themselves, each with its own weight.

    `L = T^2 / B sum_b [alpha KL(b_t || b_s) + beta KL(q_t || q_s)]` with `b = (p_y, 1 - p_y)`, p the softmax of the
    logits over T, and q the softmax over the classes other than the label y (Zhao et al., CVPR 2022, eq. 7; the factor
    `T^2` as in the authors' code). Soft targets are the case `alpha = 1, beta = 1 - p_t,y`.

    All of it is taken from log-probabilities, and the label is left out of the logits instead of being masked by a
    large number, so that a saturated softmax stays finite. mdistiller's `dkd_loss` takes the logarithm of a sum of
    probabilities, which is infinite once they underflow. With two classes there is no "other classes" term.

    The target class of a trial without a label (-1) is the one that the teacher gives the highest score.

    Args:
        student: Logits `(B, K)`, K at least 2.
        teacher: Logits `(B, K)`; detached.
        batch: Its `label` `(B,)` holds the class indices.
        alpha: Weight of the target-class term (TCKD).
        beta: Weight of the other classes' term (NCKD).
        temperature: T > 0.

    Raises:
        UsageError: `temperature` is not positive, the logits have unlike shapes, or there is one class only.
    """
    check_positive("dkd", temperature=temperature)
    check_scores("dkd", student, teacher)
    check_other_classes("dkd", student)
    student = at_least_float32(student) / temperature
    teacher = at_least_float32(teacher).detach() / temperature
    label = target_class(batch, teacher)
    others = other_classes(label, student.shape[1])
    target = _divergence(label_or_not(teacher, label, others), label_or_not(student, label, others))
    rest = _divergence(*(F.log_softmax(scores.gather(1, others), dim=1) for scores in (teacher, student)))
    return temperature**2 * (alpha * target + beta * rest)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
