"""Tables on a terminal of any width: nothing is cut off, and no word is broken."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from kdbench.text.terminal import print_prose

_UNBOUND = 1 << 16
"""Width at which every table is as wide as it would like to be."""


def print_table(console: Console, table: Table) -> None:
    """Prints a table without losing a sign of it.

    Columns that may wrap do so between words; where even that is too wide for the terminal, each row becomes a record
    of its own. Elsewhere than on a terminal, lines stay whole.

    Args:
        console: Where to.
        table: The first column names the row.
    """
    cells = [[_text(cell) for cell in (column.header, *column.cells)] for column in table.columns]
    most = [max(max(map(cell_len, text.plain.split("\n")), default=0) for text in rows) for rows in cells]
    needed = Measurement.get(console, console.options.update(width=_UNBOUND), table).maximum
    room = console.width - needed + sum(most)
    if not console.is_terminal:
        console.width = max(console.width, needed)
    elif room < sum(most):
        least = [
            wide if column.no_wrap else max(max(map(cell_len, text.plain.split()), default=0) for text in rows)
            for column, wide, rows in zip(table.columns, most, cells, strict=True)
        ]
        if sum(least) > room:
            _print_records(console, table, cells)
            return
        for column, width in zip(table.columns, _shared_out(room, least, most), strict=True):
            column.width = width
    console.print(table)


def _shared_out(room: int, least: list[int], most: list[int]) -> list[int]:
    """Widths of columns: each gets its least, then the same share of what it would like beyond."""
    share = (room - sum(least)) / (sum(most) - sum(least))
    return [low + int((high - low) * share) for low, high in zip(least, most, strict=True)]


def _print_records(console: Console, table: Table, cells: list[list[Text]]) -> None:
    if table.title:
        print_prose(console, _text(table.title).plain, str(table.title_style or ""))
    headers, *rows = zip(*cells, strict=True)
    for row in rows:
        print_prose(console, row[0].plain, "bold")
        for header, cell in zip(headers[1:], row[1:], strict=True):
            for number, line in enumerate(cell.plain.split("\n") if cell.plain.strip() else ()):
                head = f"{header.plain}: " if header.plain and not number else ""
                print_prose(console, f"  {head}{line.strip()}", str(cell.style))


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))
