"""DIST: the student's probabilities correlate with the teacher's, within a sample and within a class."""

from __future__ import annotations

from typing import Any, Literal

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
    total = _Distance.apply(ours, theirs, beta, gamma, eps)
    return total * temperature**2 if scale == "t2" else total


class _Distance(torch.autograd.Function):
    """`beta (1 - mean_b r_b) + gamma (1 - mean_k r_k)` of two matrices of probabilities.

    The gradient is formed together with the value: on matrices as small as a batch's, the time goes into the number of
    operations and not into their size.
    """

    @staticmethod
    def forward(ctx: Any, ours: Tensor, theirs: Tensor, beta: float, gamma: float, eps: float) -> Tensor:
        by_sample, of_sample = _correlation(ours, theirs, 1, eps)
        by_class, of_class = _correlation(ours, theirs, 0, eps)
        ctx.save_for_backward(of_sample.mul_(-beta).sub_(of_class, alpha=gamma))
        return beta * (1 - by_sample) + gamma * (1 - by_class)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grads[0] * gradient, None, None, None, None


def _correlation(ours: Tensor, theirs: Tensor, dim: int, eps: float) -> tuple[Tensor, Tensor]:
    """The mean of Pearson's correlations along a dimension, and its gradient in the first matrix.

    With a and b the deviations and |a| = max(norm of a, eps): `dr/da = b / (|a| |b|) - r a / (|a| norm of a)`. Its mean
    along the dimension is zero, as that of a and b, so it is the gradient in the probabilities too.
    """
    first, inverse_norm = _centred(ours, dim)
    second, inverse_of_theirs = _centred(theirs, dim)
    inverse = inverse_norm.clamp_max(1 / eps)
    both = inverse * inverse_of_theirs.clamp_max(1 / eps)
    correlations = (first * second).sum(dim, keepdim=True).mul_(both)
    count = correlations.numel()
    gradient = second.mul_(both).sub_(first.mul_(correlations * inverse * inverse_norm))
    return correlations.mean(), gradient.div_(count)


def _centred(probabilities: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Deviations from the mean, and their inverse norm: zero where they are no more than rounding."""
    mean = probabilities.mean(dim, keepdim=True)
    deviations = probabilities - mean
    norm = torch.linalg.vector_norm(deviations, dim=dim, keepdim=True)
    # What rounding leaves of a constant points nowhere, and 1/eps would blow up its gradient.
    rounding = 8 * torch.finfo(norm.dtype).eps * probabilities.shape[dim] ** 0.5
    return deviations, norm.reciprocal().where(norm > rounding * mean, 0)
