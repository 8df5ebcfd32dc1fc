"""The student's semantic feature is drawn to that of its teachers, as in SAKDN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_samples
from kdbench.losses.maps import check_channels
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("semantic_hint", on="semantic", project=False, needs=("semantic",))
def semantic_hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between the semantic features of student and teacher, both as wide as a label vector.

    `L = 1/(B S) sum_b ||f_s - f_t||^2`, of several teachers the mean (Liu et al., SAKDN, IEEE TIP 2021; weight 1 in its
    released scripts). There the feature is a layer of 300 of each, drawn to GloVe's vectors in the teachers; here it is
    the linear layer that `se` trains.

    Args:
        student: Semantic features `(B, S)`.
        teacher: Semantic features `(B, S)`; detached.

    Raises:
        UsageError: The batches or the widths differ.
    """
    check_samples("semantic_hint", student, teacher)
    check_channels("semantic_hint", student, teacher)
    return F.mse_loss(at_least_float32(student), at_least_float32(teacher).detach())
