"""What the site writes about pairs: a cell of the matrix, and what a gain means beside the controls."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.comparison.controls import read_gain
from kdbench.leaderboard.tables import Row, Table
from kdbench.statistics import Comparison, Verdict


@dataclass(frozen=True)
class Difference:
    """A cell of the matrix: `kind` is `better`, `worse` or `alike`."""

    text: str
    kind: str
    about: str


def difference(pairs: Comparison, row: str, column: str) -> Difference:
    """How far the row's method lies above the column's, in points.

    Args:
        pairs: The comparison of a table.
        row: A method of it.
        column: Another.
    """
    pair = pairs.pair(row, column)
    swapped = pair.first != row
    sign = -1 if swapped else 1
    ends = sorted((sign * pair.interval.low, sign * pair.interval.high))
    wins = Verdict.SECOND if swapped else Verdict.FIRST
    kind = "alike" if pair.verdict is Verdict.NEITHER else "better" if pair.verdict is wins else "worse"
    said = "cannot be told apart" if kind == "alike" else kind
    return Difference(
        signed(sign * pair.difference),
        kind,
        f"{row} against {column}: 95 % interval {signed(ends[0])} to {signed(ends[1])}, "
        f"p = {pair.p_holm:.2g} after Holm; {said}",
    )


def signed(share: float) -> str:
    """A difference of shares in points, with its sign."""
    points = f"{100 * share:+.1f}"
    return "0.0" if float(points) == 0 else points.replace("-", "−")


def reading(table: Table, row: Row) -> str:
    """What a row's gain over the student alone may be called; empty where it was not compared."""
    gains, alone = table.statements.gains, table.alone
    if gains is None or alone is None or row is alone:
        return ""
    controls = [each.label for each in table.rows if each.control]
    return str(read_gain(gains, row.label, alone.label, controls, table.statements.beside))
