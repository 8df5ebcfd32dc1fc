"""`kdbench check`: the conformance checks of parts, methods and data sets, as tables or as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from kdbench.cli import completion
from kdbench.cli.console import console_for
from kdbench.errors import UsageError
from kdbench.registry.streams import own_stdout, stdout_to_stderr
from kdbench.text.terminal import print_prose

if TYPE_CHECKING:
    from kdbench.testing.base import Check, Report, Result
    from kdbench.testing.find import Target

_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("–", "yellow")}


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Components, methods, data sets; a kind such as losses; or the path of a recipe or card.",
            autocompletion=completion.parts,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="The kind, where a name has several: method, dataset, loss, …; all of them by default."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check everything that is installed.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Run only this check, by its name; repeatable.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a parameter of the component or a key of the recipe: KEY=VALUE; repeatable."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device on which components are checked: cpu (default) or cuda.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="The data set on which a method is tried, or whose class names are turned into vectors."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with recordings; searched first.")] = None,
    exclude_broken: Annotated[
        bool,
        typer.Option("--exclude-broken", help="Check a data set without trials whose files are missing or broken."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List skipped checks, too, and places in kdbench.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the conformance tests of components, methods and data sets; exit code 1 if one fails."""
    if sys.stderr.isatty():
        typer.echo("loading torch and what is checked", err=True)
    # What a component prints must not get between the lines of the report.
    with own_stdout() as out, stdout_to_stderr():
        targets = _targets(names or [], kind, everything=everything)
        groups = _groups(targets, _options(targets, assignments, device, dataset, data_dir, exclude_broken), only or [])
        report = _run(groups, None if as_json else out, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    if not report.passed:
        raise typer.Exit(1)


def _targets(names: list[str], kind: str | None, *, everything: bool) -> list[Target]:
    from kdbench.registry import KINDS
    from kdbench.testing import find

    if everything == bool(names):
        raise UsageError("name what is to be checked, or give --all", hint="See what there is: kdbench list")
    if everything:
        return [target for listed in ([kind] if kind else KINDS) for target in find.everything(listed)]
    targets: list[Target] = []
    for name in names:
        whole = kind is None and name in KINDS.values()
        targets += find.everything(name) if whole else find.targets(kind, name)
    return list(dict.fromkeys(targets))


def _options(
    targets: list[Target],
    assignments: list[str] | None,
    device: str | None,
    dataset: str | None,
    data_dir: Path | None,
    exclude_broken: bool,
) -> dict[str, Any]:
    """The options that were given, by the names that the cases know them by."""
    from kdbench.recipes.changes import parse_overrides

    options: dict[str, Any] = {"device": device, "dataset": dataset, "data_dir": data_dir}
    options |= {"exclude_broken": True} if exclude_broken else {}
    options = {name: value for name, value in options.items() if value is not None}
    if assignments:
        values = parse_overrides(assignments)
        taken = {name for target in targets for name in target.suite.options}
        options |= {name: values for name in ("params", "overrides", "options") if name in taken}
    if device == "cuda":
        _demand_gpu()
    elif device not in (None, "cpu"):
        raise UsageError(
            f"unknown device '{device}', expected cpu or cuda", hint="Leave it out for the CPU: --device cpu"
        )
    return options


def _demand_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UsageError(
            "there is no CUDA device here", hint="Check the driver with `kdbench doctor`, or use --device cpu"
        )


def _groups(targets: list[Target], options: dict[str, Any], only: list[str]) -> list[list[Check]]:
    """The checks of each component."""
    from kdbench.testing.find import checks_of

    groups: dict[tuple[str, str], list[Check]] = {}
    for single in checks_of(targets, options, only):
        groups.setdefault((single.kind, single.component), []).append(single)
    return list(groups.values())


def _run(groups: list[list[Check]], out: TextIO | None, *, verbose: bool) -> Report:
    """Runs the checks, and shows each component's when they are done; nothing is shown without `out`."""
    from kdbench.testing.base import Report
    from kdbench.testing.find import report_of

    console = console_for(file=out, quiet=out is None)
    results: list[Result] = []
    for checks in groups:
        report = report_of(checks)
        results += report.results
        _show(console, report, whole=len(groups) == 1, verbose=verbose)
    if len(groups) > 1:
        failed = len({(result.kind, result.component) for result in results if result.outcome == "failed"})
        console.print(f"\n{len(groups)} checked, {f'{failed} failed' if failed else 'all passed'}")
    return Report(tuple(results))


def _show(console: Any, report: Report, *, whole: bool, verbose: bool) -> None:
    """One component: what was checked, or a line with what failed below it; skipped checks in a line."""
    from rich.table import Table
    from rich.text import Text

    from kdbench.text.terminal_table import print_table

    first = report.results[0]
    counts = {outcome: sum(r.outcome == outcome for r in report.results) for outcome in _MARKS}
    seconds = sum(result.seconds for result in report.results)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    mark, style = _MARKS["passed" if report.passed else "failed"]
    console.print(
        Text.assemble(
            (f"{mark} ", style), (f"{first.kind} {first.component}", "bold"), f": {outcomes} in {seconds:.1f} s"
        )
    )
    # Where nothing passed, why that is is the result.
    lists_skipped = verbose or not counts["passed"]
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=whole)
    table.add_column("check", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("message", overflow="fold")
    for result in report.results:
        if result.outcome == "failed" or (lists_skipped if result.outcome == "skipped" else whole):
            message = result.in_full if verbose else result.message
            table.add_row(f"  {result.name}", Text(result.outcome, style=_MARKS[result.outcome][1]), Text(message))
    if table.row_count:
        print_table(console, table)
    if (
        whole
        and not lists_skipped
        and (skipped := [result.name for result in report.results if result.outcome == "skipped"])
    ):
        print_prose(console, f"  skipped: {', '.join(skipped)}; --verbose says why", "yellow")
