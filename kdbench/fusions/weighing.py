"""Sums of branches under weights that each sample has for each source."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def weighted(weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    """`Σ_m w_m x_m` for each sample.

    Args:
        weights: `(B, m)`.
        values: m tensors `(B, C, *grid)`.

    Returns:
        `(B, C, *grid)`, in the precision of the values.
    """
    columns = weights.to(values[0].dtype).unbind(1)
    first, *rest = (w.view(-1, *[1] * (x.dim() - 1)) * x for w, x in zip(columns, values, strict=True))
    return sum(rest, first)
