"""Whether two tables order the same methods alike: rank correlations with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.errors import DataError, UsageError
from kdbench.statistics.intervals import Interval
from kdbench.statistics.margins import LEVEL
from kdbench.text.wording import counted

MIN_METHODS = 6
"""Below it the intervals hold nearly every value."""


@dataclass(frozen=True)
class RankAgreement:
    """How far two lists of scores of the same methods have the same order.

    Attributes:
        methods: How many.
        spearman: Spearman's ρ.
        spearman_interval: Of it, over further methods like these.
        kendall: Kendall's τ-b.
        kendall_interval: Of it.
    """

    methods: int
    spearman: float
    spearman_interval: Interval
    kendall: float
    kendall_interval: Interval


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> RankAgreement:
    """Rank correlations of the scores of N methods in two tables.

    The intervals are those of Bonett and Wright (Psychometrika 65, 2000): atanh of the coefficient has the standard
    error √((1 + ρ²/2)/(N − 3)) for ρ and √(0.437/(N − 4)) for τ. A coefficient of ±1 is taken half a step nearer to 0,
    the step being that to the next value that N methods can have. They speak of further methods that are drawn like
    these; that scores are means over few seeds and trials pulls the coefficients themselves towards 0, and no interval
    shows it.

    Args:
        first: N scores, larger is better.
        second: Those of the same methods.

    Raises:
        UsageError: Lengths that differ, or fewer than `MIN_METHODS`.
        DataError: All scores of a table are equal, or one is not finite.
    """
    from scipy.stats import kendalltau, spearmanr

    a, b = (np.asarray(scores, dtype=np.float64) for scores in (first, second))
    count = len(a)
    if a.shape != b.shape or a.ndim != 1:
        raise UsageError(
            f"scores are {a.shape} and {b.shape}, expected two lists of the same methods",
            hint="Give one score a method to both, in the same order.",
        )
    if count < MIN_METHODS:
        raise UsageError(
            f"{counted(count, 'method')} are too few for a rank correlation; at least {MIN_METHODS} are needed",
            hint="Run more methods in both places.",
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("a score is not finite", hint="Leave the methods out whose score is NaN or infinite.")
    if not (np.ptp(a) and np.ptp(b)):
        raise DataError(
            "all scores of a table are equal, so there is no order to compare",
            hint="Compare tables whose methods differ in their scores.",
        )
    rho, tau = float(spearmanr(a, b).statistic), float(kendalltau(a, b).statistic)
    rho_step, tau_step = 12 / (count * (count**2 - 1)), 4 / (count * (count - 1))
    return RankAgreement(
        count,
        rho,
        _interval(rho, rho_step, np.sqrt((1 + rho**2 / 2) / (count - 3))),
        tau,
        _interval(tau, tau_step, np.sqrt(0.437 / (count - 4))),
    )


def _interval(value: float, step: float, error: float) -> Interval:
    from scipy.stats import norm

    largest = 1 - step / 2
    centre = np.arctanh(np.clip(value, -largest, largest))
    half = norm.ppf((1 + LEVEL) / 2) * error
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    # An interval holds what it is about.
    return Interval(min(low, value), max(high, value), "fisher z")
