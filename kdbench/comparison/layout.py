"""Text tables as lines of text of a given width: a table where one fits, else a card for each row.

No word is broken: where a table is too wide even with its cells on several lines, it does without columns that are not
the point of it, and says which; where that does not help, each row becomes a card with everything.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.comparison.text_table import TextTable

GAP = "  "
_COMFORT = 15
"""A column of words is at least this wide where its cells are, so that a sentence is no column of single words."""


@dataclass(frozen=True)
class TextLine:
    """A line of text, and what it is: `title`, `caption`, `head`, `row`, `note` or `warning`."""

    text: str
    kind: str


def layout(table: TextTable, width: int) -> list[TextLine]:
    """Lays a table out.

    Args:
        table: What to show.
        width: The most signs a line may have; a longer word gets a line of its own.
    """
    lines = [
        *wrapped(table.title, width, "title"),
        *wrapped(f"{table.caption} {table.hint}".strip(), width, "caption"),
    ]
    for dropped in range(len(table.spare) + 1):
        narrow = _without(table, table.spare[:dropped])
        if (widths := _widths(narrow, width)) is not None:
            lines += _table(narrow, widths)
            break
    else:
        dropped = 0
        lines += _cards(table, width)
    if dropped:
        gone = [place for place in sorted(table.spare[:dropped]) if not (place == 1 and table.whole)]
        names = "; ".join(table.headers[place] for place in gone)
        lines += wrapped(
            f"· Left out at {width} columns: {names}. A wider terminal or --format csv shows them.", width, "note", "  "
        )
    for note in table.notes:
        lines += wrapped(f"· {note}", width, "note", indent="  ")
    return lines


def _without(table: TextTable, places: Sequence[int]) -> TextTable:
    kept = [place for place in range(len(table.headers)) if place not in places]
    rows = table.rows
    if table.whole and 1 in places:
        rows = tuple((name, *row[1:]) for name, row in zip(table.whole, rows, strict=True))
    return dataclasses.replace(
        table,
        headers=tuple(table.headers[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        words=frozenset(kept.index(place) for place in table.words if place in kept),
    )


def wrapped(text: str, width: int, kind: str, indent: str = "") -> list[TextLine]:
    """A text on lines of a width at most; no word is broken."""
    lines = textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [TextLine(line, kind) for line in lines]


def _pieces(text: str, words: bool) -> list[str]:
    """What may stand on lines of its own: words; of a number, the number and its interval."""
    return text.split() if words else re.split(r" (?=\[)", text)


def _of_header(text: str) -> list[str]:
    """A header's words; what stands in brackets is one."""
    return re.split(r" (?![^\[]*\])", text)


def _longest(pieces: Sequence[str]) -> int:
    return max(map(len, pieces), default=0)


def _widths(table: TextTable, width: int) -> list[int] | None:
    """The width of each column; None where no table fits."""
    least, most = [], []
    for place, header in enumerate(table.headers):
        word = place in table.words
        cells = [row[place] for row in table.rows]
        widest = _longest(cells)
        pieces = max([_longest(_pieces(cell, word)) for cell in cells], default=0)
        floor = max(_longest(_of_header(header)), max(pieces, min(widest, _COMFORT)) if word and place else pieces)
        least.append(floor)
        most.append(max(floor, widest))
    spare = width - sum(least) - len(GAP) * (len(least) - 1)
    if spare < 0:
        return None
    for place, (low, high) in enumerate(zip(least, most, strict=True)):
        more = min(high - low, spare)
        # A number is on one line or on two: a part of the room that it asks for is of no use to it.
        if place in table.words or more == high - low:
            least[place] += more
            spare -= more
    return least


def _table(table: TextTable, widths: Sequence[int]) -> list[TextLine]:
    lines = [TextLine(text, "head") for text in _row(table, table.headers, widths, head=True)]
    lines.append(TextLine(GAP.join("─" * width for width in widths), "head"))
    for row in table.rows:
        lines += [TextLine(text, "row") for text in _row(table, row, widths)]
    return lines


def _row(table: TextTable, cells: Sequence[str], widths: Sequence[int], *, head: bool = False) -> list[str]:
    columns = [
        _filled(_of_header(cell) if head else _pieces(cell, place in table.words), width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    height = max(map(len, columns))
    return [
        GAP.join(
            f"{lines[number] if number < len(lines) else '':{'<' if place in table.words else '>'}{width}}"
            for place, (lines, width) in enumerate(zip(columns, widths, strict=True))
        ).rstrip()
        for number in range(height)
    ]


def _filled(pieces: Sequence[str], width: int) -> list[str]:
    """Pieces on as few lines as they need."""
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return lines or [""]


def _cards(table: TextTable, width: int) -> list[TextLine]:
    lines = []
    for row in table.rows:
        lines += wrapped(row[0], width, "title")
        for header, cell in zip(table.headers[1:], row[1:], strict=True):
            lines += wrapped(f"  {header}: {cell}", width, "row", indent="    ")
    return lines
