"""A comparison on the terminal."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from kdbench.comparison.layout import TextLine, layout, wrapped
from kdbench.comparison.text_tables import CONTENTS, KINDS, left_out, text_tables

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.comparison.comparison import Comparison

MAIN = "results"
ALL = "all"
SHOWN = (*(kind for kind in KINDS if kind != MAIN), ALL)
"""What `--show` takes."""
PIPED = 100
"""Columns where neither a terminal nor $COLUMNS tells how wide it is, as in a file or a pipe."""
_STYLES = {"title": "bold", "caption": "dim", "head": "bold", "row": "", "note": "dim", "warning": "yellow"}


def show(comparison: Comparison, console: Console, kinds: Collection[str] = ()) -> None:
    """Prints the main table, and others where they are asked for.

    Args:
        comparison: What was compared.
        console: Where to; it tells how wide it is where it is a terminal.
        kinds: Of `SHOWN`.
    """
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else PIPED
    wanted = set(KINDS) if ALL in kinds else {MAIN, "reference", *kinds}
    lines: list[TextLine] = []
    for table in text_tables(comparison, wanted):
        lines += [*layout(table, width), TextLine("", "row")]
    for text in left_out(comparison):
        lines += wrapped(text, width, "warning", "  ")
    there = {table.kind for table in text_tables(comparison)}
    if rest := [f"{kind} ({what})" for kind, what in CONTENTS.items() if kind in there - wanted]:
        lines += wrapped(f"More, by --show NAME: {', '.join(rest)}; or {ALL}.", width, "note", "  ")
    for line in lines:
        # Names are printed as they are, whatever markup they look like.
        style = _STYLES[line.kind]
        console.print(line.text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)
