"""Cross-entropy with the labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Batch


@loss("ce", on="logits", teacher=False)
def cross_entropy(student: Tensor, *, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the labels, mean over the batch.

    `L = -1/B sum_b log softmax(z_b)[y_b]`

    Args:
        student: Logits `(B, K)`.
        batch: Its `label` `(B,)` holds the class indices.
        label_smoothing: Share of the target that is spread evenly over the classes, in [0, 1).

    Raises:
        UsageError: `label_smoothing` is not in [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ParameterError(
            f"ce: label_smoothing is {label_smoothing}, expected a number in [0, 1)", instead={"label_smoothing": 0.1}
        )
    return F.cross_entropy(at_least_float32(student), batch.label, label_smoothing=label_smoothing)
