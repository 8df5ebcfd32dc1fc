"""Pearson distance along both axes of a matrix, with its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class PearsonDistance(torch.autograd.Function):
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
