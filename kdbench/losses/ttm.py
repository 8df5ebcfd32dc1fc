"""Transformed teacher matching: the student at temperature 1 follows powers of the teacher's probabilities."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("ttm", on="logits", project=False)
def transformed_teacher(student: Tensor, teacher: Tensor, *, exponent: float = 0.1, weighted: bool = False) -> Tensor:
    """KL divergence of the teacher's probabilities, raised to a power and normalised, against the student's.

    `L = 1/B sum_b u_b KL(p_t^g / sum_k p_t,k^g || p_s)`, p the softmax of the logits, `u_b = 1` for TTM and
    `u_b = sum_k p_t,k^g` for WTTM (Zheng and Yang, ICLR 2024). The power g stands for a temperature 1/g on the
    teacher's side alone, so there is no factor `T^2`. u is between 1, where the teacher is certain, and `K^(1 - g)`,
    where it is not: WTTM makes much of the samples with soft targets. All of it is taken from log-probabilities; the
    authors' `TTM` and `WTTM` take powers of the probabilities, which is the same until they underflow.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.
        exponent: g > 0.
        weighted: Multiply with u: WTTM.

    Raises:
        UsageError: `exponent` is not positive, or the logits have unlike shapes.
    """
    check_positive("ttm", exponent=exponent)
    check_scores("ttm", student, teacher)
    powers = exponent * at_least_float32(teacher).detach().log_softmax(1)
    log_sum = powers.logsumexp(1, keepdim=True)
    log_student = at_least_float32(student).log_softmax(1)
    divergence = F.kl_div(log_student, powers - log_sum, reduction="none", log_target=True).sum(1)
    return (log_sum.exp()[:, 0] * divergence if weighted else divergence).mean()
