"""A table of text, and the numbers in it."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.statistics import PairSummary
from kdbench.text.wording import NONE


@dataclass(frozen=True)
class TextTable:
    """One table of text.

    Attributes:
        kind: One of `KINDS`.
        title: Its heading.
        caption: Whom and what it is about.
        headers: One per column; the first column names the row.
        rows: Cells.
        notes: Lines below it.
        words: Columns of words; the others are numbers, to be set flush right.
        marks: Cells, by row and column, that hold a claim: better than the baseline, or than every other.
        spare: Columns that a narrow table can do without, the first to go first.
        whole: What the first column holds where the second is left out; empty where it is the same.
        hint: What to type for another population, after the caption, where a command can be typed.
        number: Number of the comparison's table that it is about, from 1; 0 where it is about all of them.
    """

    kind: str
    title: str
    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: frozenset[int] = frozenset({0})
    marks: frozenset[tuple[int, int]] = frozenset()
    spare: tuple[int, ...] = ()
    whole: tuple[str, ...] = ()
    hint: str = ""
    number: int = 0


def percent(share: float | None) -> str:
    """A share in per cent, two decimals."""
    return NONE if share is None else f"{100 * share:.2f}"


def points(difference: float | None) -> str:
    """A difference in percentage points, with its sign."""
    return NONE if difference is None else f"{100 * difference:+.2f}"


def needed_text(pair: PairSummary) -> str:
    """How many seeds or subjects would tell a pair apart."""
    return pair.needed.sentence if pair.needed else NONE
