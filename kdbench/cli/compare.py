"""`kdbench compare`: one table of methods that a reviewer accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.errors import unknown
from kdbench.wording import counted

TERMINAL = "terminal"


def compare(
    dataset: Annotated[str | None, typer.Option(help="Runs on this data set alone.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Runs under this protocol alone.")] = None,
    preset: Annotated[str | None, typer.Option(help="Runs at this preset alone.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="This method; repeatable. All by default.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="This seed; repeatable. All by default.")] = None,
    about: Annotated[
        str, typer.Option(help="Whom intervals and tests speak of: these-subjects or new-subjects.")
    ] = "these-subjects",
    metric: Annotated[str, typer.Option(help="What pairs are compared by: accuracy or macro_f1.")] = "accuracy",
    way: Annotated[str | None, typer.Option(help="Intervals of differences: bootstrap or t.")] = None,
    across: Annotated[
        list[str] | None,
        typer.Option(help="Rank across this unlike condition, such as precision; repeatable."),
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="Show published numbers beside, unranked.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; ./runs by default.")] = None,
    form: Annotated[str, typer.Option("--format", help="terminal, md, csv, latex, html or json.")] = TERMINAL,
    save: Annotated[Path | None, typer.Option(help="Write every format and picture into this folder.")] = None,
) -> None:
    """Compares finished runs: same trials, same seeds, equal conditions; a table for each set of conditions."""
    from kdbench.comparison import compare as compare_runs
    from kdbench.comparison.formats import FORMATS, render

    if form not in (TERMINAL, *FORMATS):
        raise unknown("format", form, [TERMINAL, *FORMATS])
    found = compare_runs(
        out,
        dataset=dataset,
        protocol=protocol,
        preset=preset,
        methods=method or (),
        seeds=seed or (),
        about=about,
        metric=metric,
        way=way,
        across=across or (),
        reference=reference,
    )
    if form == TERMINAL:
        from rich.console import Console

        from kdbench.comparison.terminal import show

        show(found, Console())
    else:
        typer.echo(render(found, form), nl=False)
    if save is not None:
        written = found.save(save)
        typer.echo(f"{counted(len(written), 'file')} in {save}", err=True)
