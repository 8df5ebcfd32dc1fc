"""The target class of each sample, and its other classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.types import Batch


def target_class(batch: Batch, teacher: Tensor) -> Tensor:
    """The label of each trial, or the teacher's class where there is none (-1); `(B,)`.

    Args:
        batch: Its `label` `(B,)` holds the class indices.
        teacher: Logits `(B, K)`.
    """
    return torch.where(batch.label >= 0, batch.label, teacher.argmax(1))


def other_classes(label: Tensor, classes: int) -> Tensor:
    """Indices of the classes that are not the label, `(B, K - 1)`, in ascending order."""
    first = torch.arange(classes - 1, device=label.device)
    # To pick them by a mask, the host would have to wait for how many there are.
    return first + (first >= label[:, None])


def label_or_not(logits: Tensor, label: Tensor, others: Tensor) -> Tensor:
    """Logarithms of the probabilities of the label and of all else, `(B, 2)`."""
    log_probability = F.log_softmax(logits, dim=1)
    of_label = log_probability.gather(1, label[:, None])
    of_others = log_probability.gather(1, others).logsumexp(1, keepdim=True)
    return torch.cat([of_label, of_others], dim=1)
