"""Squared distances of all pairs of samples, from one matrix product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdbench.losses.numerics import at_least_float32, widest, without_autocast


class SquaredDistances(torch.autograd.Function):
    """`D_ij = |c_i|^2 + |c_j|^2 - 2 <c_i, c_j>`, whose gradient is `2 sum_j S_ij (c_i - c_j)` with `S = G + G^T`."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, precision: torch.dtype | None) -> Tensor:
        ctx.save_for_backward(points)
        with without_autocast(points):
            wide = widest(points)
            mean = wide.mean(0)
            # In place where the wide samples are a copy.
            products = _gram(wide - mean if wide is points else wide.sub_(mean))
        squares = products.diagonal().clone()
        # Rounding may leave the distance of equal samples just below 0. Out of place at the end: under torch.compile,
        # torch 2.11 gives a result that was changed in place no gradient.
        distances = products.mul_(-2).add_(squares[:, None]).add_(squares).clamp_min(0)
        return distances if precision is None else distances.to(precision)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (points,) = ctx.saved_tensors
        with without_autocast(points):
            precise = at_least_float32(points)
            # A common offset cancels; to take most of it away saves digits.
            centred = precise - precise.mean(0)
            both = (grads[0] + grads[0].T).to(precise.dtype)
            gradient = torch.addmm(both.sum(1, keepdim=True) * centred, both, centred, beta=2, alpha=-2)
        return gradient.to(points.dtype), None


def _gram(points: Tensor) -> Tensor:
    """Products of all pairs of samples `(B, B)`; of the two halves that mirror each other one is computed."""
    half = len(points) // 2
    first, second = points[:half], points[half:]
    products = points.new_empty(len(points), len(points))
    products[:, half:] = points @ second.T
    products[:half, :half] = first @ first.T
    products[half:, :half] = products[:half, half:].T
    return products
