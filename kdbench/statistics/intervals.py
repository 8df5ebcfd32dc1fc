"""Intervals and p-values of many contrasts at once, by the name of the way to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdbench.statistics.bootstrap import resampled_deviations, with_seeds
from kdbench.statistics.margins import LEVEL, margin, p_value
from kdbench.statistics.scope import Scope
from kdbench.statistics.scores import Scores
from kdbench.statistics.spread import Contrasts, Spread, Subjects, spread_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        way: How it was made: `bootstrap` or `t`.
    """

    low: float
    high: float
    way: str


@dataclass(frozen=True, eq=False)
class Inference:
    """What is inferred about C contrasts of M methods.

    Attributes:
        spread: Estimates and variances.
        low: `(C,)`: of the 95 % interval.
        high: `(C,)`.
        p: `(C,)`: two-sided, of the contrast being 0; at most 0.05 where the interval leaves 0 out.
    """

    spread: Spread
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def each(methods: int) -> csr_array:
    """A contrast for each method by itself, `(M, M)`; rows of it taken from one another are differences of two."""
    from scipy.sparse import eye_array

    return eye_array(methods, format="csr")


def infer_t(scores: Scores, contrasts: Contrasts, scope: Scope) -> Inference:
    """Student's t for trials (or subjects) and for seeds, as `margins` puts them together.

    Args:
        scores: M methods.
        contrasts: `(C, M)`, such as `each` gives: 1 for a method, 1 and −1 for a difference of two.
        scope: Whom the statement is about.
    """
    subjects = Subjects.of(scores.subjects)
    spread = spread_of(scores.values[:, :, subjects.order], contrasts, subjects, scope)
    half = margin(spread)
    return Inference(spread, spread.estimate - half, spread.estimate + half, p_value(spread))


def infer_bootstrap(scores: Scores, contrasts: Contrasts, scope: Scope, *, draws: int, seed: int) -> Inference:
    """The hierarchical paired bootstrap: percentiles of the draws, and the share of them beyond 0.

    No interval is narrower, and no p smaller, than those by `t` of the trials alone, seeds as they are.

    Args:
        scores: M methods.
        contrasts: `(C, M)`, as in `infer_t`.
        scope: Whom the statement is about.
        draws: B; no p is below 2/(B + 1).
        seed: The same gives the same draws.
    """
    subjects = Subjects.of(scores.subjects)
    values = scores.values[:, :, subjects.order]
    spread = spread_of(values, contrasts, subjects, scope)
    generator = np.random.default_rng(seed)
    of_trials = contrasts @ resampled_deviations(values.mean(axis=1), subjects, draws, generator).T
    # What is imagined beside the trials (`spread.IMAGINED`) keeps the variance of a few trials off 0 here too.
    imagined = np.sqrt(spread.units - spread.mixed)[:, None]
    of_trials += imagined * generator.standard_normal(draws)
    drawn = with_seeds(of_trials, spread, generator) if spread.seed_df else of_trials
    low, high, p = _read_off(drawn, spread.estimate)
    # A handful of trials that all favour one method is too skewed to be drawn from.
    trials = dataclasses.replace(spread, seeds=np.zeros_like(spread.seeds), rest=np.zeros_like(spread.rest))
    half = margin(trials)
    low, high = np.minimum(low, spread.estimate - half), np.maximum(high, spread.estimate + half)
    return Inference(spread, low, high, np.maximum(p, p_value(trials)))


def _read_off(deviations: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The interval of C contrasts and the p of their being 0, from draws `(C, B)`."""
    draws = deviations.shape[1]
    drawn = deviations + estimate[:, None]
    beyond = np.minimum((drawn <= 0).sum(axis=1), (drawn >= 0).sum(axis=1))
    cut = max(int((draws + 1) * (1 - LEVEL) / 2), 1)
    drawn.partition((cut - 1, draws - cut), axis=1)
    # The estimate counts as one of the draws, so that no p is 0.
    p = np.where(estimate == 0, 1, np.minimum(2 * (1 + beyond) / (draws + 1), 1))
    return drawn[:, cut - 1], drawn[:, draws - cut], p
