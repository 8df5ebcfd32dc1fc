"""A comparison on the terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kdbench.comparison.layout import encodable, layout
from kdbench.comparison.result import Comparison
from kdbench.comparison.sheets import CONTENTS, KINDS, left_out, sheets

if TYPE_CHECKING:
    from rich.console import Console

MAIN = "results"
ALL = "all"
SHOWN = (*(kind for kind in KINDS if kind != MAIN), ALL)
"""What `--show` takes."""
PIPED = 100
"""Columns where no terminal tells how wide it is, as in a file or a pipe."""
_STYLES = {"title": "bold", "caption": "dim", "head": "bold", "row": "", "note": "dim"}


def show(comparison: Comparison, console: Console, kinds: Collection[str] = ()) -> None:
    """Prints the main sheet, and others where they are asked for.

    Args:
        comparison: What was compared.
        console: Where to; it tells how wide it is where it is a terminal.
        kinds: Of `SHOWN`.
    """
    width = console.width if console.is_terminal else PIPED
    wanted = set(KINDS) if ALL in kinds else {MAIN, "reference", *kinds}
    for sheet in sheets(comparison, wanted):
        for line in layout(sheet, width):
            _print(console, line.text, _STYLES[line.kind])
        console.print()
    for text in left_out(comparison):
        _print(console, text, "yellow")
    there = {sheet.kind for sheet in sheets(comparison)}
    if rest := [f"{kind} ({what})" for kind, what in CONTENTS.items() if kind in there - wanted]:
        _print(console, f"More, by --show NAME: {', '.join(rest)}; or {ALL}.", "dim")


def _print(console: Console, text: str, style: str) -> None:
    # Names are printed as they are, whatever markup they look like.
    shown = encodable(text, console.encoding)
    console.print(shown, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)
