"""DIST: the student's probabilities correlate with the teacher's, within a sample and within a class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import unknown
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("dist", on="logits", project=False)
def correlated(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    scale: Literal["t2", "none"] = "t2",
    eps: float = 1e-8,
) -> Tensor:
    """Pearson distance of the class probabilities along the rows and along the columns of the batch.

    `L = T^2 [beta (1 - mean_b r(P_b:^s, P_b:^t)) + gamma (1 - mean_k r(P_:k^s, P_:k^t))]` with P the softmax of the
    logits over T and r Pearson's correlation (Huang et al., NeurIPS 2022). The rows are the relations
    between classes, the columns those between samples.

    A row or column that is constant, up to rounding, has no correlation: r = 0, and no gradient. So has every column
    of a batch of one sample. Norms below `eps` take this value, as torchdistill's `DISTLoss` has it; the authors' code
    adds `eps` to the product of the norms instead, which shrinks the correlation of tiny probabilities.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.
        beta: Weight of the relations between classes.
        gamma: Weight of the relations between samples.
        temperature: T > 0.
        scale: `t2` or `none`, whether the factor `T^2` is there.
        eps: Least norm of a centred row or column.

    Raises:
        UsageError: A parameter has no such value, or the logits have unlike shapes.
    """
    check_positive("dist", temperature=temperature, eps=eps)
    if scale not in ("t2", "none"):
        raise unknown("scale of dist", scale, ("t2", "none"))
    check_scores("dist", student, teacher)
    ours = (at_least_float32(student) / temperature).softmax(1)
    theirs = (at_least_float32(teacher).detach() / temperature).softmax(1)
    between_classes = 1 - _correlation(ours, theirs, 1, eps).mean()
    between_samples = 1 - _correlation(ours, theirs, 0, eps).mean()
    total = beta * between_classes + gamma * between_samples
    return total * temperature**2 if scale == "t2" else total


def _correlation(ours: Tensor, theirs: Tensor, dim: int, eps: float) -> Tensor:
    """Pearson's correlation along a dimension of two matrices of probabilities."""
    ours, our_norm = _centred(ours, dim, eps)
    theirs, their_norm = _centred(theirs, dim, eps)
    return (ours * theirs).sum(dim) / our_norm / their_norm


def _centred(probabilities: Tensor, dim: int, eps: float) -> tuple[Tensor, Tensor]:
    """Deviations from the mean, and their norm: at least eps, infinite where they are no more than rounding."""
    mean = probabilities.mean(dim, keepdim=True)
    deviations = probabilities - mean
    norm = torch.linalg.vector_norm(deviations, dim=dim)
    held = norm.detach()
    # What rounding leaves of a constant points nowhere, and eps would blow up its gradient.
    rounding = 8 * torch.finfo(norm.dtype).eps * probabilities.shape[dim] ** 0.5
    varies = held > rounding * mean.squeeze(dim)
    # The floor is a constant beside the norm, whose gradient goes on below it as in torch's cosine_similarity.
    return deviations, (norm + (eps - held).clamp_min(0)).where(varies, torch.inf)
