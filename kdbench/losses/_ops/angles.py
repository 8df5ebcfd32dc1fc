"""Differences of the angles of all triples of a batch, in the memory of its pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 24}
"""Angles that are computed at a time: what a CPU's cache holds; on a GPU as few launches as its memory allows."""


class AngleLoss(torch.autograd.Function):
    """Sum of Huber's function over all differences of angles; see `kdbench.losses.rkd`.

    With inverse distances r the angles are `a_ijk = (D_ij + D_ik - D_jk) r_ij r_ik / 2`. The gradient in D^s is formed
    together with the value, a few anchors i at a time, so that nothing of size `B^3` is ever kept.
    """

    @staticmethod
    def forward(ctx: Any, squares: Tensor, distinct: Tensor, of_teacher: Tensor, distinct_of_teacher: Tensor) -> Tensor:
        samples = len(squares)
        inverse, inverse_of_teacher = _inverse(squares, distinct), _inverse(of_teacher, distinct_of_teacher)
        total = squares.new_zeros(())
        gradient = torch.zeros_like(squares)
        anchors = max(1, _CHUNK.get(squares.device.type, _CHUNK["cpu"]) // samples**2)
        for start in range(0, samples, anchors):
            rows = slice(start, start + anchors)
            angles, weights = _angles(squares, inverse, rows)
            difference = angles - _angles(of_teacher, inverse_of_teacher, rows)[0]
            # Huber's h(d) is s (d - s / 2) with its own slope s = clamp(d, -1, 1).
            slope = difference.clamp(-1, 1)
            # Out of place: under torch.compile, torch 2.11 gives a result that was changed in place no gradient.
            total = total + (slope * difference.sub_(slope, alpha=0.5)).sum()
            along = angles.mul_(slope).sum(2)
            weights.mul_(slope)
            gradient[rows] += 2 * weights.sum(2) - inverse[rows].square() * along
            gradient -= weights.sum(0)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grads[0] * gradient, None, None, None


def _inverse(squares: Tensor, distinct: Tensor) -> Tensor:
    return squares.where(distinct, 1).rsqrt().where(distinct, 0)


def _angles(squares: Tensor, inverse: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """Cosines `(anchors, B, B)` at the anchors `rows`, and `r_ij r_ik / 2`."""
    weights = inverse[rows, :, None] * (inverse[rows, None, :] / 2)
    angles = squares[rows, :, None] - squares
    angles += squares[rows, None, :]
    return angles.mul_(weights), weights
