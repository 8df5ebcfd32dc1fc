"""Tables on narrow terminals: every sign of every cell is there, and no word is broken."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from kdbench.text.terminal import SafeConsole
from kdbench.text.terminal_table import print_table

PATH = "/a/long/path/without/any/space/that/nobody/wants/broken"
ROWS = (("leaderboard_subject_specific", "to do 0, 1, 2 and more words that may wrap", PATH), ("short", "done 0", "/x"))


def printed(width: int, *, terminal: bool = True, box: bool = False) -> str:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=terminal, width=width, color_system=None)
    table = Table(title="things") if box else Table(box=None, pad_edge=False)
    for heading in ("method", "seeds", "folder"):
        table.add_column(heading)
    for row in ROWS:
        table.add_row(*row)
    print_table(console, table)
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110, 200])
@pytest.mark.parametrize("box", [True, False])
def test_no_width_loses_or_breaks_a_word(width: int, box: bool) -> None:
    told = printed(width, box=box)
    for word in " ".join(
        (*(cell for row in ROWS for cell in row), "method" if width > 100 else "seeds", "folder")
    ).split():
        assert word in told, word
    if width >= 110:
        assert max(map(len, told.splitlines())) <= width


def test_a_narrow_terminal_gets_records() -> None:
    lines = printed(60).splitlines()
    assert lines[:2] == ["leaderboard_subject_specific", "  seeds: to do 0, 1, 2 and more words that may wrap"]
    assert PATH in lines[2] + lines[3]
    assert lines[-3:] == ["short", "  seeds: done 0", "  folder: /x"]


def test_what_is_no_terminal_gets_a_line_a_row() -> None:
    assert len(printed(40, terminal=False).splitlines()) == 1 + len(ROWS)
