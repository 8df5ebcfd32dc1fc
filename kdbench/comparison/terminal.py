"""A comparison on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.comparison.result import Comparison
from kdbench.comparison.sheets import Sheet, left_out, sheets

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200
"""Columns of a terminal that is none, such as a file: nothing is to be folded there."""


def show(comparison: Comparison, console: Console) -> None:
    """Prints every sheet; names are printed as they are, whatever markup they look like."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    for sheet in sheets(comparison):
        _show(sheet, console)
    for line in left_out(comparison):
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _show(sheet: Sheet, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(sheet.title), title_justify="left", caption=None, box=box.SIMPLE_HEAD, pad_edge=False)
    for place, header in enumerate(sheet.headers):
        word = place in sheet.words
        table.add_column(Text(header), justify="left" if word else "right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    console.print(table)
    for line in ([sheet.caption] if sheet.caption else []) + list(sheet.notes):
        console.print(f"· {line}", style="dim", highlight=False, markup=False)
    console.print()
