"""The normalised affinity graph of a batch."""

from __future__ import annotations

from torch import Tensor

from kdbench.losses.distances import squared_distances
from kdbench.losses.numerics import precision_of


def normalized_affinity(scores: Tensor, *, self_loops: bool = True) -> Tensor:
    """Symmetrically normalised Gaussian affinity of the samples of a batch.

    `W_ij = exp(-||x_i - x_j||^2 / 2)`, `L = D^(-1/2) W D^(-1/2)` with D the row sums of W (Yuan et al., Scientific
    Reports 14, 2024, eq. 12-13).

    Args:
        scores: One vector a sample `(B, K)`.
        self_loops: Keep `W_ii = 1`. Without them a sample that has no neighbour gets a row of zeros.

    Returns:
        L `(B, B)`, float32 or, for float64 scores, float64. Computed in float64 between.
    """
    affinity = (squared_distances(scores) / -2).exp()
    if not self_loops:
        affinity = affinity - affinity.diagonal().diag()
    degree = affinity.sum(1)
    # Without self-loops a sample may have no neighbour: its row stays zero.
    inverse_root = degree.where(degree > 0, 1).rsqrt()
    return (inverse_root[:, None] * affinity * inverse_root).to(precision_of(scores))
