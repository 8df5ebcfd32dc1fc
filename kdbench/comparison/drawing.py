"""Which methods a picture of a comparison shows, and in which colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.comparison.table import GroupTable, Row
from kdbench.plotting.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 30
"""Methods that a picture shows at most: the best ones, the student alone and the controls."""
MOST_MARKS = 16
"""The same where methods are told apart by their marks."""


def colour_of(row: Row) -> str:
    """Grey for the student alone, orange for a control, blue for a method."""
    if row.control:
        return COLOURS[1]
    return COLOURS[0] if row.gain else COLOURS[6]


def shown_rows(table: GroupTable, most: int) -> list[Row]:
    """The best methods, with the student alone and the controls wherever they rank; in the table's order."""
    ranked = table.ranked
    kept = {row.method for row in ranked if row.control or row.gain is None}
    others = [row.method for row in ranked if row.method not in kept]
    kept.update(others[: max(most - len(kept), 1)])
    return [row for row in ranked if row.method in kept][: 2 * most]


def note_hidden(figure: Figure, table: GroupTable, most: int) -> None:
    """Says how many methods a picture leaves out."""
    hidden = len(table.ranked) - len(shown_rows(table, most))
    if hidden > 0:
        figure.supxlabel(f"the best methods; {hidden} more are in the table", fontsize=8, color="#777777")
