"""Probabilistic knowledge transfer: neighbours of the teacher stay neighbours of the student."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.losses.checks import check_positive, check_samples
from kdbench.losses.numerics import at_least_float32, gram, precision_of, widest
from kdbench.registry import loss


@loss("pkt", on="embedding", project=False)
def probabilistic(student: Tensor, teacher: Tensor, *, eps: float = 1e-7) -> Tensor:
    """KL divergence of the probabilities that samples of the batch are neighbours.

    `L = 1/B^2 sum_ij p_ij log((p_ij + eps) / (q_ij + eps))`, where p (teacher) and q (student) are the similarities
    `(1 + cos(x_i, x_j)) / 2`, each row divided by its sum (Passalis and Tefas, ECCV 2018). As in the
    authors' code the mean runs over all pairs, a sample with itself included, where the paper sums over the pairs of
    unlike samples; RepDistiller, mdistiller and torchdistill agree with the code, Knowledge-Distillation-Zoo takes
    `eps = 1e-6`. The widths of the networks need not agree.

    The divergence of alike batches cancels nearly all digits, hence the probabilities are float64. A sample without
    direction (all zero) is equally similar to all and gets no gradient. One sample has no neighbours: 0.

    Args:
        student: Embeddings `(B, ...)`, flattened to `(B, D)`.
        teacher: Embeddings `(B, ...)`; detached.
        eps: Added to the norms and to the probabilities.

    Raises:
        UsageError: `eps` is not positive, or the batches differ.
    """
    check_positive("pkt", eps=eps)
    check_samples("pkt", student, teacher)
    neighbours = _neighbours(student, eps)
    with torch.no_grad():
        targets = _neighbours(teacher, eps)
    return (targets * ((targets + eps) / (neighbours + eps)).log()).mean().to(precision_of(student))


def _neighbours(embedding: Tensor, eps: float) -> Tensor:
    """Probabilities `(B, B)`; each row sums to one."""
    rows = at_least_float32(embedding.flatten(1))
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    similarity = widest(gram(rows / (norm + eps).where(norm > 0, torch.inf))) + 1
    return similarity / similarity.sum(1, keepdim=True)
