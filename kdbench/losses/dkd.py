"""Decoupled knowledge distillation: soft targets split into the target class and the rest."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
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
    if student.shape[1] < 2:
        raise UsageError("dkd: there is 1 class; expected at least 2, the label and another")
    student = at_least_float32(student) / temperature
    teacher = at_least_float32(teacher).detach() / temperature
    label = torch.where(batch.label >= 0, batch.label, teacher.argmax(1))
    others = _other_classes(label, student.shape[1])
    target = _divergence(_label_or_not(teacher, label, others), _label_or_not(student, label, others))
    rest = _divergence(*(F.log_softmax(scores.gather(1, others), dim=1) for scores in (teacher, student)))
    return temperature**2 * (alpha * target + beta * rest)


def _other_classes(label: Tensor, classes: int) -> Tensor:
    """Indices of the classes that are not the label, `(B, K - 1)`, in ascending order."""
    first = torch.arange(classes - 1, device=label.device)
    return first + (first >= label[:, None])


def _label_or_not(logits: Tensor, label: Tensor, others: Tensor) -> Tensor:
    """Logarithms of the probabilities of the label and of all else, `(B, 2)`."""
    log_probability = F.log_softmax(logits, dim=1)
    of_label = log_probability.gather(1, label[:, None])
    of_others = log_probability.gather(1, others).logsumexp(1, keepdim=True)
    return torch.cat([of_label, of_others], dim=1)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
