"""Motion-augmented streams: the student's pooled feature is drawn to the teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_samples
from kdbench.losses.maps import check_channels
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("mars", on="embedding")
def motion_augmented(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error between the pooled features before the classifier.

    `L = 1/(B D) sum_b ||f_s - f_t||^2` (Crasto et al., CVPR 2019, eq. 1, with the mean of the released code, in which
    its weight is 50). There the teacher sees optical flow; here it sees sensors. Where the widths differ, a learnt
    linear stands on the student's side.

    Args:
        student: Embeddings `(B, D)`.
        teacher: Embeddings `(B, D)`; detached.

    Raises:
        UsageError: The batches or the widths differ.
    """
    check_samples("mars", student, teacher)
    check_channels("mars", student, teacher)
    return F.mse_loss(at_least_float32(student), at_least_float32(teacher).detach())
