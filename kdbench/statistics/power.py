"""How many seeds or subjects would tell two methods apart, if they differ by as much as they seem to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from kdbench.statistics.margins import critical_distance
from kdbench.statistics.scope import Scope
from kdbench.statistics.spread import Spread

LARGEST = 1000


@dataclass(frozen=True)
class Needed:
    """What a second study would need.

    Attributes:
        of: `seeds` (for these subjects) or `subjects` (for new ones, at as many seeds as now).
        number: How many in all; None where not even `LARGEST` suffice: the trials (or the seeds) are the limit, or
            the methods do not differ at all.
        detectable: The difference that the data at hand would show with the same power; None where no difference would
            be large enough.
        power: The chance of showing it.
        level: Confidence of the test, stricter than the intervals' where many pairs are tested.
    """

    of: str
    number: int | None
    detectable: float | None
    power: float
    level: float

    @property
    def sentence(self) -> str:
        """For a person: what would be needed."""
        if self.number is None:
            other = {"seeds": "trials", "subjects": "seeds"}[self.of]
            return f"no number of {self.of} up to {LARGEST} would tell them apart at these variances; {other} might"
        return (
            f"about {self.number} {self.of} would be needed, if the difference is as measured ({self.power:.0%} power)"
        )


def needed(spread: Spread, *, scope: Scope, alpha: float, power: float) -> list[Needed]:
    """Plans from the measured differences and variances.

    With U, W and their degrees of freedom as they would be, the estimate over its standard error follows a noncentral
    t of Satterthwaite's ν degrees of freedom, and exceeds the test's margin c (`margins.significance_margin`, in
    standard errors) with probability Φ((|δ|/SE − c) / √(1 + c²/2ν)) (Johnson and Welch, Biometrika 1940). More seeds
    shrink all of W; more subjects shrink U, and of W what the seeds do not share among subjects.

    Args:
        spread: C differences.
        scope: Whom the statement is about.
        alpha: Significance level of each test.
        power: Wanted chance of telling them apart.
    """
    now = spread.seed_df + 1 if scope is Scope.THESE_SUBJECTS else spread.unit_df + 1
    counts = np.arange(2, LARGEST + 1)
    shrunk = now / counts
    if scope is Scope.THESE_SUBJECTS:
        units = np.broadcast_to(spread.units[:, None], (len(spread.units), len(counts)))
        seeds = spread.seeds[:, None] * shrunk
        unit_df, seed_df = np.full(len(counts), spread.unit_df), counts - 1
    else:
        units = spread.units[:, None] * shrunk
        seeds = (spread.seeds - spread.rest)[:, None] + spread.rest[:, None] * shrunk
        unit_df, seed_df = counts - 1, np.full(len(counts), spread.seed_df)
    chance = _power(np.abs(spread.estimate)[:, None], units, seeds, unit_df, seed_df, alpha)
    enough = chance >= power
    first = np.where(enough.any(axis=1), counts[enough.argmax(axis=1)], 0)
    detectable = _detectable(spread, alpha, power)
    of = "seeds" if scope is Scope.THESE_SUBJECTS else "subjects"
    return [
        Needed(of, int(number) or None, float(difference) if difference < 1 else None, power, 1 - alpha)
        for number, difference in zip(first, detectable, strict=True)
    ]


def _critical(
    units: np.ndarray, seeds: np.ndarray, unit_df: np.ndarray, seed_df: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard error, margin in standard errors, and Satterthwaite's degrees of freedom."""
    tiny = np.finfo(float).tiny
    error = np.sqrt(np.maximum(units + seeds, tiny))
    critical = critical_distance(units, seeds, unit_df, seed_df, alpha) / error
    freedom = error**4 / np.maximum(units**2 / unit_df + seeds**2 / np.maximum(seed_df, 1), tiny)
    return error, critical, np.maximum(freedom, 1)


def _power(
    difference: np.ndarray,
    units: np.ndarray,
    seeds: np.ndarray,
    unit_df: np.ndarray,
    seed_df: np.ndarray,
    alpha: float,
) -> np.ndarray:
    error, critical, freedom = _critical(units, seeds, unit_df, seed_df, alpha)
    return ndtr((difference / error - critical) / np.sqrt(1 + critical**2 / (2 * freedom)))


def _detectable(spread: Spread, alpha: float, power: float) -> np.ndarray:
    error, critical, freedom = _critical(
        spread.units, spread.seeds, np.asarray(spread.unit_df), np.asarray(spread.seed_df), alpha
    )
    return error * (critical + ndtri(power) * np.sqrt(1 + critical**2 / (2 * freedom)))
