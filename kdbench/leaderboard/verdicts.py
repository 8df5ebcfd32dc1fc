"""What the site writes about a pair of methods: a cell of the matrix of differences."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.comparison.controls import NOT_TOLD_APART, better, lead
from kdbench.statistics import ScoreComparison


@dataclass(frozen=True)
class PairCell:
    """A cell of the matrix: `kind` is `better`, `worse` or `alike`."""

    text: str
    kind: str
    about: str


def pair_cell(pairs: ScoreComparison, row: str, column: str) -> PairCell:
    """How far the row's method lies above the column's, in points.

    Args:
        pairs: The comparison of a table.
        row: A method of it.
        column: Another.
    """
    pair = pairs.pair(row, column)
    sign = 1 if pair.first == row else -1
    low, high = sorted((sign * pair.interval.low, sign * pair.interval.high))
    kind = {row: "better", column: "worse", None: "alike"}[better(pair)]
    return PairCell(
        signed(lead(pair, row)),
        kind,
        f"{row} against {column}: 95 % interval {signed(low)} to {signed(high)}, "
        f"p = {pair.p_holm:.2g} after Holm; {NOT_TOLD_APART if kind == 'alike' else kind}",
    )


def signed(share: float) -> str:
    """A difference of shares in points, with its sign."""
    points = f"{100 * share:+.1f}"
    # A difference that rounds to 0 has no sign.
    return "0.0" if float(points) == 0 else points.replace("-", "−")
