"""Many methods over many blocks: Friedman's test and Nemenyi's critical difference of mean ranks.

A block has subjects and trained networks of its own: a fold that leaves one subject out, or a data set. Subjects that
one set of networks is tested on are no blocks: what a seed does to a method, it does to all of them, and with three
seeds the critical difference errs in 13 % of the cases instead of 5 % (`benchmarks/interval_coverage.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.errors import DataError, UsageError
from kdbench.text.wording import counted, inflected

MIN_BLOCKS = 6
"""Below it the test's χ² is a poor approximation and the critical difference larger than any ranks can show."""


@dataclass(frozen=True)
class RankComparison:
    """Mean ranks of methods over blocks.

    Attributes:
        methods: K names, the best first.
        mean_ranks: Their mean ranks, 1 the best; ties share theirs.
        blocks: N.
        statistic: Friedman's χ², corrected for ties, with K − 1 degrees of freedom.
        p: Its p-value.
        critical_difference: Two mean ranks further apart than this differ at `alpha`, over all pairs.
        alpha: Family-wise error of the critical difference.
        groups: For the diagram's bars: runs of methods, as wide as possible, that cannot be told apart; of two at
            least.
        about: Whom it is about.
    """

    methods: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    blocks: int
    statistic: float
    p: float
    critical_difference: float
    alpha: float
    groups: tuple[tuple[str, ...], ...]
    about: str


def compare_ranks(
    methods: Sequence[str],
    scores: np.ndarray,
    *,
    alpha: float = 0.05,
    about: str = "new blocks like these, each with networks of its own",
) -> RankComparison:
    """Compares methods by their ranks within blocks (Friedman, JASA 1937; Nemenyi 1963; Demšar, JMLR 2006, § 3.2).

    The critical difference is q_α √(K(K + 1) / (6N)), q_α the studentised range of K means over √2.

    Args:
        methods: K names, three at least.
        scores: `(K, N)`, larger is better; no two blocks share a subject or a trained network.
        alpha: Family-wise error.
        about: Whom the statement is about.

    Raises:
        UsageError: Fewer than three methods or `MIN_BLOCKS` blocks, or shapes that do not fit.
        DataError: A score is not finite.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or len(scores) != len(methods):
        raise UsageError(
            f"scores are {scores.shape}, expected ({len(methods)}, blocks): one row per method",
            hint="Give it scores of shape (methods, blocks); transpose them where blocks come first.",
        )
    kinds, blocks = scores.shape
    if kinds < 3:
        raise UsageError(f"ranks compare three methods or more, not {kinds}", hint="Look at the pair's interval.")
    if blocks < MIN_BLOCKS:
        raise UsageError(
            f"{counted(blocks, 'block')} {inflected(blocks, 'is')} too few to compare ranks; at least "
            f"{MIN_BLOCKS} are needed",
            hint="Look at the pairs' intervals, or run more folds (leave-one-subject-out) or data sets.",
        )
    if not np.isfinite(scores).all():
        raise DataError(
            f"a score of '{methods[int(np.argwhere(~np.isfinite(scores))[0, 0])]}' is not finite",
            hint="Leave that method or that block out.",
        )
    # Rank 1 is the highest score; equal ones share the mean of their ranks.
    ranks = rankdata(-scores, axis=0).mean(axis=1)
    order = np.argsort(ranks, kind="stable")
    # The test divides by the spread of the ranks, which is 0 where all scores are equal.
    alike = bool((np.ptp(scores, axis=0) == 0).all())
    statistic, p = (0.0, 1.0) if alike else friedmanchisquare(*scores)
    range_quantile = studentized_range.ppf(1 - alpha, kinds, np.inf)
    critical = float(range_quantile / np.sqrt(2) * np.sqrt(kinds * (kinds + 1) / (6 * blocks)))
    names, means = tuple(methods[i] for i in order), tuple(float(ranks[i]) for i in order)
    groups = _groups(names, means, critical)
    return RankComparison(names, means, blocks, float(statistic), float(p), critical, alpha, groups, about)


def _groups(names: tuple[str, ...], ranks: tuple[float, ...], critical: float) -> tuple[tuple[str, ...], ...]:
    groups: list[tuple[str, ...]] = []
    reached = 0
    for start, rank in enumerate(ranks):
        # Ranks ascend, and earlier ones count too: the sum is the place where the set ends.
        end = sum(other - rank <= critical for other in ranks)
        if end > reached and end - start > 1:
            groups.append(names[start:end])
        reached = max(reached, end)
    return tuple(groups)
