"""The margin of error where two variances with unlike degrees of freedom add up.

Three seeds give 2 degrees of freedom and hundreds of trials give hundreds: the Behrens–Fisher problem, which has no
exact solution. With V = U + W, t_u(α) and t_s(α) the two-sided quantiles of the units' and the seeds' degrees of
freedom, the known ones are

    Satterthwaite (1946):       t_ν(α) √V, ν = V² / (U²/u + W²/s)          too short by a little
    Cochran and Cox (1957):     (U t_u(α) + W t_s(α)) / √V                  too long by a little
    in quadrature (Howe 1974):  √(U t_u(α)² + W t_s(α)²)                    too long, at every α

The interval takes the mean of the first two, which covers what it should at 95 %; for smaller α the first is far
too short (Holm's correction over 28 pairs asks for 0.2 %), so that tests take the third, which never is.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from kdbench.statistics.spread import Spread

LEVEL = 0.95
HALVINGS = 60


def interval_margin(spread: Spread) -> np.ndarray:
    """Half the width of the 95 % interval, `(C,)`; 0 where nothing varies."""
    error = np.sqrt(spread.variance)
    units, seeds = _quantiles(spread.unit_df, spread.seed_df, 1 - LEVEL)
    share = spread.units / np.where(error > 0, error**2, 1)
    freedom = 1 / (share**2 / spread.unit_df + (1 - share) ** 2 / max(spread.seed_df, 1))
    satterthwaite = -stdtrit(freedom, (1 - LEVEL) / 2)
    return error * (satterthwaite + share * units + (1 - share) * seeds) / 2


def significance_margin(spread: Spread, alpha: float | np.ndarray) -> np.ndarray:
    """How far from 0 an estimate is significant at level α, `(C,)`."""
    return critical_distance(spread.units, spread.seeds, spread.unit_df, spread.seed_df, alpha)


def critical_distance(
    units: np.ndarray,
    seeds: np.ndarray,
    unit_df: int | np.ndarray,
    seed_df: int | np.ndarray,
    alpha: float | np.ndarray,
) -> np.ndarray:
    """The third margin, from its parts.

    Args:
        units: U.
        seeds: W; 0 with one seed.
        unit_df: Degrees of freedom of U.
        seed_df: Of W; 0 with one seed.
        alpha: Level, in (0, 1).
    """
    of_units, of_seeds = _quantiles(unit_df, seed_df, alpha)
    return np.sqrt(units * of_units**2 + seeds * of_seeds**2)


def p_value(spread: Spread) -> np.ndarray:
    """The α at which the estimate is just significant, two-sided, `(C,)`; 1 where the estimate is 0."""
    low, high = np.full_like(spread.estimate, -40.0), np.zeros_like(spread.estimate)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = significance_margin(spread, 10**middle) >= np.abs(spread.estimate)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(spread.estimate == 0, 1.0, 10**high)


def _quantiles(
    unit_df: int | np.ndarray, seed_df: int | np.ndarray, alpha: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    tail = np.asarray(alpha) / 2
    return -stdtrit(unit_df, tail), -stdtrit(np.maximum(seed_df, 1), tail)
