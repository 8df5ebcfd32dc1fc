"""Whether a teacher knows more than which class is the most frequent."""

from __future__ import annotations

import math
from typing import Literal

P_VALUE = 1e-3


def above_chance(correct: int, count: int, most: int) -> Literal["yes", "no", "unclear"]:
    """Compares trials that were named right with always naming the most frequent class, by a binomial test.

    A training part may be too small, or too much of one class, for the test to pass a good teacher: with 8 trials of
    two classes even all 8 right have p = 0.0039. So `no` is said only where a teacher half-way between chance and
    perfect would pass, or where this one is no better than always naming one class.

    Args:
        correct: Trials named right.
        count: Trials.
        most: Trials of the most frequent class.
    """
    from scipy.stats import binom

    def passes(right: int) -> bool:
        # sf leaves its argument out, so right - 1 gives the probability of at least that many.
        return bool(binom.sf(right - 1, count, most / count) <= P_VALUE)

    if passes(correct):
        return "yes"
    if passes(math.ceil((most + count) / 2)) or correct <= most < count:
        return "no"
    return "unclear"
