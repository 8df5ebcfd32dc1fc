"""Intervals and p-values of many contrasts at once, by the name of the way to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdbench.statistics.bootstrap import resampled_deviations, with_seeds
from kdbench.statistics.margins import LEVEL, margin, p_value
from kdbench.statistics.scope import Scope
from kdbench.statistics.scores import Scores
from kdbench.statistics.spread import Spread, Subjects, spread_of


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


def infer_t(scores: Scores, contrasts: np.ndarray, scope: Scope) -> Inference:
    """Student's t for trials (or subjects) and for seeds, as `margins` puts them together.

    Args:
        scores: M methods.
        contrasts: `(C, M)`: weights of the methods: one 1 for a method, 1 and −1 for a difference.
        scope: Whom the statement is about.
    """
    subjects = Subjects.of(scores.subjects)
    spread = spread_of(scores.values[:, :, subjects.order], contrasts, subjects, scope)
    half = margin(spread)
    return Inference(spread, spread.estimate - half, spread.estimate + half, p_value(spread))


def infer_bootstrap(scores: Scores, contrasts: np.ndarray, scope: Scope, *, draws: int, seed: int) -> Inference:
    """The hierarchical paired bootstrap: percentiles of the draws, and the share of them beyond 0.

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
    deviations = contrasts @ resampled_deviations(values.mean(axis=1), subjects, draws, generator).T
    drawn = with_seeds(deviations, spread, generator) + spread.estimate[:, None]
    beyond = np.minimum((drawn <= 0).sum(axis=1), (drawn >= 0).sum(axis=1))
    cut = max(int((draws + 1) * (1 - LEVEL) / 2), 1)
    drawn.partition((cut - 1, draws - cut), axis=1)
    p = np.where(spread.estimate == 0, 1, np.minimum(2 * (1 + beyond) / (draws + 1), 1))
    return Inference(spread, drawn[:, cut - 1], drawn[:, draws - cut], p)
