"""Lends the methods' seeds to one another: variances from two or three seeds, moderated by those of all methods."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, polygamma

FLOOR = 1e-3
"""Of the mean variance: what a variance of 0 (an accuracy that two seeds share) counts as in the logarithm."""

MOST_LENT = 3
"""How many times its own degrees of freedom a variance is lent at most."""


def moderated(variances: np.ndarray, by_method: np.ndarray, df: int, most: int) -> tuple[np.ndarray, float]:
    """Shrinks C variances of `df` degrees of freedom towards their mean, as far as the methods' are alike.

    A t of 2 degrees of freedom would have to exceed 23 after Holm's correction over 28 pairs: three seeds of two
    methods tell nothing apart. Three seeds of eight methods do, if their variances are alike. With d_0 estimated from
    how much more the logarithms of the methods' variances differ than chance makes them,

        s̃² = (d_0 s_0² + d s²) / (d_0 + d), with d_0 + d degrees of freedom

    (Smyth, Linear Models and Empirical Bayes Methods, Stat. Appl. Genet. Mol. Biol. 2004, § 6). Where all are alike,
    d_0 is as large as the other methods' seeds warrant; where one is unlike the others, it is small. Two or three seeds
    often look alike by chance, and then one unstable method borrows the calm of all others: the tests'
    family-wise error was 6 to 7 %. So d_0 is at most `MOST_LENT` times d, with which they keep their promise.
    The unstable method's own intervals are too short even so (`benchmarks/interval_coverage.py`, its pairs).

    Args:
        variances: `(C,)`: s², of methods or of their differences.
        by_method: `(M,)`: variances of the M methods, by which d_0 is judged, scaled so that their mean is s_0², what
            the variances are expected to be if the methods are alike.
        df: d, the degrees of freedom of each.
        most: Degrees of freedom of all methods together, which d_0 + d does not exceed.

    Returns:
        s̃² `(C,)` and its degrees of freedom.
    """
    mean = by_method.mean()
    if most <= df or mean == 0:
        return variances, float(df)
    logs = np.log(np.maximum(by_method, FLOOR * mean)) - digamma(df / 2) + np.log(df / 2)
    prior = min(_prior_df(logs.var(ddof=1) - polygamma(1, df / 2)), most - df, MOST_LENT * df)
    return (prior * mean + df * variances) / (prior + df), float(prior + df)


def _prior_df(excess: float) -> float:
    """Solves trigamma(d_0/2) = excess, by halving; infinite where the variances differ no more than by chance."""
    if excess <= 0:
        return np.inf
    low, high = -3.0, 6.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if polygamma(1, 10**middle / 2) > excess else (low, middle)
    return float(10**low)
