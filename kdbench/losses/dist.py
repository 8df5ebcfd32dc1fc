"""DIST: the student's probabilities correlate with the teacher's, within a sample and within a class."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import unknown_value
from kdbench.losses._ops import computed_by
from kdbench.losses._ops.pearson import PearsonDistance
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
        raise unknown_value("scale", scale, ("t2", "none"), of="dist")
    check_scores("dist", student, teacher)
    ours = (at_least_float32(student) / temperature).softmax(1)
    theirs = (at_least_float32(teacher).detach() / temperature).softmax(1)
    total = _distance(ours, theirs, beta, gamma, eps)
    return total * temperature**2 if scale == "t2" else total


@computed_by(PearsonDistance)
def _distance(ours: Tensor, theirs: Tensor, beta: float, gamma: float, eps: float) -> Tensor:
    """`beta (1 - mean_b r_b) + gamma (1 - mean_k r_k)` of two matrices of probabilities."""
    by_sample, by_class = (
        F.cosine_similarity(_deviations(ours, dim), _deviations(theirs, dim), dim=dim, eps=eps).mean() for dim in (1, 0)
    )
    return beta * (1 - by_sample) + gamma * (1 - by_class)


def _deviations(probabilities: Tensor, dim: int) -> Tensor:
    """Deviations from the mean; zero where they are no more than rounding."""
    mean = probabilities.mean(dim, keepdim=True)
    deviations = probabilities - mean
    norm = torch.linalg.vector_norm(deviations.detach(), dim=dim, keepdim=True)
    rounding = 8 * torch.finfo(norm.dtype).eps * probabilities.shape[dim] ** 0.5
    return deviations.where(norm > rounding * mean, 0)
