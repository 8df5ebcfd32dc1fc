"""Squared distances of all pairs of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.losses._ops import computed_by
from kdbench.losses._ops.squared_distances import SquaredDistances
from kdbench.losses.numerics import widest


def squared_distances(points: Tensor, precision: torch.dtype | None = None) -> Tensor:
    """Squared Euclidean distances of all pairs of samples, `(B, D)` to `(B, B)`, computed in the widest precision.

    The samples are centred before their Gram matrix is taken, so that a common offset cancels no digits. Memory is
    `B * B`; the diagonal is exactly zero. The gradient takes one product, in the precision of the loss.

    Args:
        points: One vector a sample.
        precision: Of the result; None for the widest.
    """
    return _squared_distances(points, precision)


@computed_by(SquaredDistances)
def _squared_distances(points: Tensor, precision: torch.dtype | None) -> Tensor:
    """`D_ij = |x_i - x_j|^2`."""
    wide = widest(points)
    return (wide[:, None] - wide).square().sum(2).to(precision or wide.dtype)
