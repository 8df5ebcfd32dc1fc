"""McNemar's exact test: two networks on the trials at hand, seed by seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdbench.errors import UsageError
from kdbench.statistics.holm import holm
from kdbench.statistics.margins import LEVEL
from kdbench.statistics.scores import Scores

LABEL = "these trials only, with these trained networks"


@dataclass(frozen=True)
class SeedTable:
    """The trials on which two methods disagree at one seed.

    Attributes:
        seed: The seed of both.
        only_a: Trials that the first alone gets right.
        only_b: Trials that the second alone gets right.
        p: Exact two-sided p-value; 1 without a disagreement.
        g: Cohen's g, only_a / (only_a + only_b) − 1/2, in [-1/2, 1/2] (Cohen, Statistical Power Analysis, 1988, ch. 5:
            0.05 small, 0.15 medium, 0.25 large); 0 without a disagreement.
        g_low: Lower end of its exact 95 % interval (Clopper and Pearson).
        g_high: Upper end.
    """

    seed: int
    only_a: int
    only_b: int
    p: float
    g: float
    g_low: float
    g_high: float


@dataclass(frozen=True)
class McNemar:
    """The test of one pair.

    Attributes:
        seeds: One table per seed.
        p: Over the seeds: R/k times the k-th smallest p, k = ⌈R/2⌉ (Rüger, Metrika 1978), at most 1.
        p_holm: `p` after Holm's correction over all pairs.
        about: Whom it is about.
    """

    seeds: tuple[SeedTable, ...]
    p: float
    p_holm: float
    about: str = LABEL


def mcnemar(scores: Scores, first: np.ndarray, second: np.ndarray) -> list[McNemar]:
    """Tests pairs of methods on the trials that they disagree about (McNemar, Psychometrika 1947; exact: binomial).

    Trained networks are what is compared, so each seed has a test of its own. Adding the seeds' tables would count a
    trial R times, and the majority of R networks is an ensemble that nobody proposes. The seeds' p-values share their
    trials; R/k times the k-th smallest holds under any dependence, and one lucky seed does not decide.

    Args:
        scores: Right and wrong.
        first: `(P,)`: indices of the pairs' first methods.
        second: `(P,)`: of the second.

    Raises:
        UsageError: The scores are not 0 and 1.
    """
    from scipy.special import bdtr, betaincinv

    if not scores.binary:
        raise UsageError(
            f"McNemar's test needs right or wrong trials; {scores.metric} is neither",
            hint="Give it the scores of metric='accuracy'.",
        )
    right = np.ascontiguousarray(scores.values.transpose(1, 0, 2))
    alone, both = right.sum(axis=2), _both(right, first, second)
    only_a = (alone[:, first] - both).round().astype(int)
    only_b = (alone[:, second] - both).round().astype(int)
    unlike = only_a + only_b
    p = np.minimum(2 * bdtr(np.minimum(only_a, only_b), unlike, 0.5), 1)
    p = np.where(unlike == 0, 1.0, p)
    tail = (1 - LEVEL) / 2
    # The bounds keep the inverse within its domain; where they act, the end of the interval is 0 or 1.
    low = np.where(only_a > 0, betaincinv(np.maximum(only_a, 1), only_b + 1, tail), 0)
    high = np.where(only_b > 0, betaincinv(only_a + 1, np.maximum(only_b, 1), 1 - tail), 1)
    g = np.where(unlike > 0, only_a / np.maximum(unlike, 1), 0.5) - 0.5
    # k in the middle: half of the seeds have to agree.
    middle = (len(right) + 1) // 2
    combined = np.minimum(np.sort(p, axis=0)[middle - 1] * len(right) / middle, 1)
    columns = [column.T.tolist() for column in (only_a, only_b, p, g, low - 0.5, high - 0.5)]
    return [
        McNemar(tuple(map(SeedTable, scores.seeds, *of_pair)), whole, adjusted)
        for whole, adjusted, *of_pair in zip(combined.tolist(), holm(combined).tolist(), *columns, strict=True)
    ]


def _both(right: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many trials both methods of a pair name right, `(R, P)`, of what is right, `(R, M, N)`."""
    methods = right.shape[1]
    if len(first) > methods:
        # Most of all pairs are asked for: one product has them all.
        every: np.ndarray = (right @ right.transpose(0, 2, 1))[:, first, second]
        return every
    return np.einsum("rpn,rpn->rp", right[:, first], right[:, second])
