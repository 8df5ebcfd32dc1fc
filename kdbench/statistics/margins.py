"""The margin of error where two variances with unlike degrees of freedom add up.

A few seeds give a few degrees of freedom, hundreds of trials hundreds: the Behrens–Fisher problem. With t_u(α) and
t_s(α) the two-sided quantiles of both, the margins add in quadrature (Howe, JASA 1974; Zou and Donner, Statistics in
Medicine 2008),

    m(α) = √(U t_u(α)² + max(W t_s(α)² − E t_u(α)², 0)),

where E is what U and W both hold (`spread`). So no margin is shorter than that of the trials alone. Satterthwaite's
degrees of freedom are too many when few seeds happen to agree: at the levels that Holm's correction asks for, their
margin errs ten times as often as it should.
"""

from __future__ import annotations

import numpy as np

from kdbench.statistics.spread import Spread

LEVEL = 0.95
HALVINGS = 40


def margin(spread: Spread, alpha: float | np.ndarray = 1 - LEVEL) -> np.ndarray:
    """Half the width of the 1 − α interval, `(C,)`; never 0."""
    own = margin_of(spread.units, spread.seeds, spread.rest, spread.unit_df, spread.seed_df, alpha)
    return own if spread.floor is None else np.maximum(own, margin(spread.floor, alpha))


def margin_of(
    units: np.ndarray,
    seeds: np.ndarray,
    rest: np.ndarray,
    unit_df: int | np.ndarray,
    seed_df: int | np.ndarray,
    alpha: float | np.ndarray,
) -> np.ndarray:
    """The same from its parts.

    Args:
        units: U.
        seeds: W; 0 with one seed.
        rest: E, what both hold.
        unit_df: Degrees of freedom of U.
        seed_df: Of W; 0 with one seed.
        alpha: In (0, 1).
    """
    from scipy.special import stdtrit

    tail = np.asarray(alpha) / 2
    of_units, of_seeds = stdtrit(unit_df, tail), stdtrit(np.maximum(seed_df, 1), tail)
    return np.sqrt(units * of_units**2 + np.maximum(seeds * of_seeds**2 - rest * of_units**2, 0))


def p_value(spread: Spread) -> np.ndarray:
    """The α at which the interval just reaches 0, two-sided, `(C,)`; 1 where the estimate is 0."""
    # Halved in powers of ten, since p may be of any size.
    low, high = np.full_like(spread.estimate, -40.0), np.zeros_like(spread.estimate)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = margin(spread, 10**middle) >= np.abs(spread.estimate)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(spread.estimate == 0, 1.0, 10**high)
