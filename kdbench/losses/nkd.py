"""Normalised distillation: the target class, and the other classes brought to the sum 1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_other_classes, check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.losses.targets import other_classes, target_class
from kdbench.registry import loss
from kdbench.types import Batch


@loss("nkd", on="logits", project=False, labels="optional")
def normalised(
    student: Tensor, teacher: Tensor, *, batch: Batch, gamma: float = 1.5, temperature: float = 1.0
) -> Tensor:
    """Cross-entropy of the target class, and of the other classes among themselves.

    `L = -1/B sum_b [p_t,y log p_s,y + gamma T^2 sum_{k != y} q_t,k log q_s,k]` with p the softmax of the logits, y the
    label, and q the softmax of the logits over T among the classes other than y (Yang et al., ICCV 2023). Both are
    cross-entropies, so the value is not 0 where the student equals the teacher. The probability of the label is taken
    at T = 1, as the authors' `NKDLoss` has it; that class takes the label out of the logits, as is done here.

    The target class of a trial without a label (-1) is the one that the teacher gives the highest score.

    Args:
        student: Logits `(B, K)`, K at least 2.
        teacher: Logits `(B, K)`; detached.
        batch: Its `label` `(B,)` holds the class indices.
        gamma: Weight of the other classes' term.
        temperature: T > 0 of the other classes.

    Raises:
        UsageError: `temperature` is not positive, the logits have unlike shapes, or there is one class only.
    """
    check_positive("nkd", temperature=temperature)
    check_scores("nkd", student, teacher)
    check_other_classes("nkd", student)
    student, teacher = at_least_float32(student), at_least_float32(teacher).detach()
    label = target_class(batch, teacher)
    others = other_classes(label, student.shape[1])
    of_label = -(teacher.softmax(1) * student.log_softmax(1)).gather(1, label[:, None]).mean()
    ours, theirs = (logits.gather(1, others) / temperature for logits in (student, teacher))
    return of_label + gamma * temperature**2 * F.cross_entropy(ours, theirs.softmax(1))
