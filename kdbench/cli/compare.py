"""`kdbench compare`: one table of methods that a reviewer accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.console import note
from kdbench.cli.tracks import OnlyLabels, check_labels
from kdbench.errors import unknown
from kdbench.text.wording import counted

TERMINAL = "terminal"


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Folders of runs, or names as for --runs; all runs by default.", show_default=False),
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option("--runs", help="Runs whose folder, name or method matches, such as 'sgm*'; repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out runs whose folder, name or method matches; repeatable.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Only runs on this data set.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only runs under this protocol.")] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(help="Put the test trials of this protocol and others into one table, as folds; repeatable."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Only runs at this preset.")] = None,
    labels: OnlyLabels = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="This method, name or row; repeatable. All that are named have to be comparable."),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="This seed; repeatable. All by default.")] = None,
    population: Annotated[
        str, typer.Option(help="Target population: these-subjects (new trials of theirs) or new-subjects.")
    ] = "these-subjects",
    about: Annotated[str | None, typer.Option(hidden=True)] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The method, name or row to test against; by default the student alone.")
    ] = None,
    family: Annotated[
        str, typer.Option(help="Pairs that are tested and corrected for: baseline (every method against it) or all.")
    ] = "baseline",
    pairs: Annotated[str | None, typer.Option(hidden=True)] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Metric of ranks and tests: accuracy, macro_f1, weighted_f1 or map; the data set's own by default."
        ),
    ] = None,
    ci: Annotated[
        str | None, typer.Option(help="How confidence intervals of differences are made: t (the default) or bootstrap.")
    ] = None,
    way: Annotated[str | None, typer.Option(hidden=True)] = None,
    allow_different: Annotated[
        list[str] | None,
        typer.Option(help="Rank runs together that differ in this condition, such as precision; repeatable."),
    ] = None,
    systems: Annotated[
        bool,
        typer.Option("--systems", help="Rank whole systems, whatever their networks are and see at test; rows say so."),
    ] = False,
    across: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    reference: Annotated[bool, typer.Option("--reference", help="Show published numbers too, unranked.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; ./runs by default.")] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(help="Print more: metrics, tests, conditions, cost, ranks, reference or all; repeatable."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="terminal, md, csv, latex, html or json.")] = TERMINAL,
    save: Annotated[Path | None, typer.Option(help="Write every format and picture into this folder.")] = None,
) -> None:
    """Compare finished runs: same trials, same seeds, equal conditions; one table per set of conditions."""
    from kdbench.comparison import compare as compare_runs
    from kdbench.comparison.formats import FORMATS, render
    from kdbench.comparison.terminal import SHOWN
    from kdbench.comparison.terminal import show as show_tables

    if form not in (TERMINAL, *FORMATS):
        raise unknown(
            "format", form, [TERMINAL, *FORMATS], hint="Name one of them, or leave --format out for the terminal's."
        )
    check_labels(labels)
    for name in show or ():
        if name not in SHOWN:
            raise unknown("section to show", name, SHOWN, hint="See every one: --show all")
    for former, value, now in (
        ("--about", about, "--population"),
        ("--pairs", pairs, "--family"),
        ("--way", way, "--ci"),
        ("--across", across, "--allow-different"),
    ):
        if value:
            note(f"{former} is called {now} now")
    comparison = compare_runs(
        out,
        runs=[*(runs or ()), *(pattern or ())],
        exclude=exclude or (),
        dataset=dataset,
        protocol=protocol,
        pool=pool or (),
        preset=preset,
        labels=labels,
        methods=method or (),
        seeds=seed or (),
        population=about or population,
        baseline=baseline,
        family=pairs or family,
        metric=metric,
        ci=way or ci,
        allow_different=across or allow_different or (),
        systems=systems,
        reference=reference or "reference" in (show or ()),
    )
    if form == TERMINAL:
        from kdbench.text.terminal import SafeConsole as Console

        show_tables(comparison, Console(), show or ())
    else:
        typer.echo(render(comparison, form), nl=False)
    if save is not None:
        typer.echo(f"writing figures to {save} ...", err=True)
        written = comparison.save(save)
        typer.echo(f"{counted(len(written), 'file')} in {save}", err=True)
