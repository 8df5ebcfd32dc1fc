"""Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Adjusts p-values so that rejecting those ≤ α keeps the chance of any false rejection ≤ α.

    The i-th smallest of m becomes max_{j ≤ i} min(1, (m − j + 1) p_j), under any dependence (Holm, A Simple
    Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 1979).

    Args:
        p_values: `(m,)`; m may be 0.

    Returns:
        `(m,)`, in the order given.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    # No p may come out below that of a pair with a smaller one.
    stepped = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted
