"""`kdbench data who` and `kdbench data init`: one's own recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import completion
from kdbench.cli.console import console_for


def who(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name of `kdbench data list`, or a card's YAML file.",
            autocompletion=completion.datasets,
        ),
    ],
    data_dir: Annotated[Path | None, typer.Option(help="Folder that contains NAME/; searched first.")] = None,
    trials: Annotated[bool, typer.Option("--trials", help="A line for each trial instead of each subject.")] = False,
) -> None:
    """Show who has what: how many trials of each subject were recorded with each source."""
    from rich.table import Table
    from rich.text import Text

    from kdbench.data.card import load_card
    from kdbench.data.roster import roster
    from kdbench.data.store import source
    from kdbench.text.terminal_table import print_table

    card = load_card(name)
    recordings = source.find(card, data_dir)
    if recordings is None:
        raise source.missing(card, data_dir)
    found = roster(recordings, by_trial=trials)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(found.by)
    for heading in ("trials", *found.sources, "all sources"):
        table.add_column(heading, justify="right")
    for row in (*found.rows, found.total):
        counts = [row.trials, *row.having.values(), row.whole]
        style = "bold" if row is found.total else ""
        cells = [Text(str(count), style="yellow" if count < row.trials else style) for count in counts]
        table.add_row(Text(row.name, style=style), *cells)
    print_table(console_for(soft_wrap=True), table)
