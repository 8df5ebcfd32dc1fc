"""Regression of the teacher's logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("logits", on="logits", project=False)
def logit_regression(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the logits of both networks.

    `L = 1/(B K) sum_b ||s_b - t_b||^2` (Ba and Caruana, NIPS 2014, eq. 1, whose factor `K/2` belongs to the weight).
    Unlike soft targets it also asks for the teacher's offset and scale.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.

    Raises:
        UsageError: The logits have unlike shapes.
    """
    check_scores("logits", student, teacher)
    return F.mse_loss(at_least_float32(student), at_least_float32(teacher).detach())
