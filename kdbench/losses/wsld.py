"""Weighted soft labels: a sample counts more the worse the student is at it, compared with the teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Batch


@loss("wsld", on="logits", project=False, labels="needed", detaches=("logits",))
def weighted_soft_labels(
    student: Tensor, teacher: Tensor, *, batch: Batch, temperature: float = 2.0, eps: float = 1e-7
) -> Tensor:
    """Cross-entropy with soft targets, weighted by both networks' cross-entropies with the label.

    `L = T^2 / B sum_b w_b H(softmax(t_b / T), softmax(s_b / T))`, `w_b = 1 - exp(-H_s,b / H_t,b)`, H_s and H_t the
    cross-entropies of the label at T = 1 (Zhou et al., ICLR 2021). The weight is held fixed: no gradient comes back
    through it. H_t is increased by `eps`, as in the authors' `WSLDistiller`, whose factor alpha = 2.5 is here the
    term's weight.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.
        batch: Its `label` `(B,)` holds the class indices.
        temperature: T > 0.
        eps: Added to the teacher's cross-entropy.

    Raises:
        UsageError: A parameter is not positive, or the logits have unlike shapes.
    """
    check_positive("wsld", temperature=temperature, eps=eps)
    check_scores("wsld", student, teacher)
    student, teacher = at_least_float32(student), at_least_float32(teacher).detach()
    ours, theirs = (F.cross_entropy(logits, batch.label, reduction="none") for logits in (student.detach(), teacher))
    # 1 - exp(-x), exact also for a small x.
    weight = -(-ours / (theirs + eps)).expm1()
    soft = F.cross_entropy(student / temperature, (teacher / temperature).softmax(1), reduction="none")
    return temperature**2 * (weight * soft).mean()
