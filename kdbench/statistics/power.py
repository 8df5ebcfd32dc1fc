"""How many seeds or subjects would tell two methods apart, if they differ by as much as they seem to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdbench.statistics.margins import margin_of
from kdbench.statistics.scope import Scope
from kdbench.statistics.spread import Spread

LARGEST, PLANS = 1000, 200
"""The largest number that is looked at, and about how many: all of the small ones, every hundredth of the large."""


@dataclass(frozen=True)
class Needed:
    """What a second study would need.

    Attributes:
        of: `seeds` (for these subjects) or `subjects` (for new ones, at as many seeds as now).
        number: How many in all; None where not even `LARGEST` suffice, or the data do not say.
        detectable: The difference that the data at hand would show with the same power; None where no difference would
            be large enough.
        power: The chance of showing it.
        level: Confidence of the test, stricter than the intervals' where many pairs are tested.
        sentence: How many, for a person.
    """

    of: str
    number: int | None
    detectable: float | None
    power: float
    level: float
    sentence: str


def needed(spread: Spread, *, scope: Scope, seeds: int, alpha: float, power: float) -> list[Needed]:
    """Plans from the measured differences and variances.

    With U, W and their degrees of freedom as they would be, the estimate over its standard error follows a noncentral
    t of Satterthwaite's ν degrees of freedom, and exceeds the margin c (`margins.margin`, in standard errors) with
    probability Φ((|δ|/SE − c) / √(1 + c²/2ν)) (Johnson and Welch, Biometrika 1940). More seeds shrink W, more
    subjects U.

    Args:
        spread: C differences.
        scope: Whom the statement is about.
        seeds: R, as many as were run.
        alpha: Significance level of each test.
        power: Wanted chance of telling them apart.
    """
    # A listing of runs needs this package and no distribution; scipy takes a second to import.
    from scipy.special import ndtr, ndtri

    counts = np.unique(np.geomspace(2, LARGEST, PLANS).round())
    many = np.ones(len(counts))
    units, spent, rest = spread.units[:, None], spread.seeds[:, None], spread.rest[:, None]
    if scope is Scope.THESE_SUBJECTS:
        of, tried, fewer = "seeds", seeds, seeds / counts
        parts = np.maximum(units - rest, 0) + rest * fewer, spent * fewer, rest * fewer
        freedoms = spread.unit_df * many, spread.seed_df * (counts - 1) / max(seeds - 1, 1)
    else:
        of, tried = "subjects", spread.unit_df + 1
        parts = units * tried / counts, spent * many, rest * many
        freedoms = counts - many, spread.seed_df * many
    error, critical, freedom = _critical(*parts, *freedoms, alpha)
    size = np.abs(spread.estimate)[:, None] / error
    enough = (ndtr((size - critical) / np.sqrt(1 + critical**2 / (2 * freedom))) >= power) & (counts > tried)
    first = np.where(enough.any(axis=1), counts[enough.argmax(axis=1)], 0)
    # One seed tells nothing of how seeds vary, so that no number of them can be planned.
    if of == "seeds" and seeds == 1:
        first[:] = 0
    error, critical, freedom = _critical(
        spread.units,
        spread.seeds,
        spread.rest,
        np.asarray(spread.unit_df),
        np.asarray(spread.seed_df),
        alpha,
    )
    detectable = error * (critical + ndtri(power) * np.sqrt(1 + critical**2 / (2 * freedom)))
    return [
        Needed(
            of,
            int(number) or None,
            float(difference) if difference < 1 else None,
            power,
            1 - alpha,
            _sentence(of, int(number), seeds),
        )
        for number, difference in zip(first, detectable, strict=True)
    ]


def _sentence(of: str, number: int, seeds: int) -> str:
    if number:
        return f"about {number} {of} in all"
    if of == "seeds" and seeds == 1:
        return "one seed cannot say"
    other = {"seeds": "trials", "subjects": "seeds"}[of]
    return f"more {other}; more {of} would not"


def _critical(
    units: np.ndarray,
    seeds: np.ndarray,
    rest: np.ndarray,
    unit_df: np.ndarray,
    seed_df: np.ndarray,
    alpha: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard error, margin in standard errors, and Satterthwaite's degrees of freedom."""
    error = np.sqrt(units + np.maximum(seeds - rest, 0))
    critical = margin_of(units, seeds, rest, unit_df, seed_df, alpha) / error
    shares = np.maximum(units - rest, 0) ** 2 / unit_df + seeds**2 / np.maximum(seed_df, 1)
    freedom = error**4 / np.maximum(shares, np.finfo(float).tiny)
    return error, critical, np.maximum(freedom, 1)
