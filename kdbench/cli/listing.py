"""`kdbench list`: every name with its origin; imports no component, so that it is quick."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli.console import console_for
from kdbench.errors import UsageError, unknown
from kdbench.recipes import shipped
from kdbench.registry import GROUPS, KINDS, registry
from kdbench.registry.discovery import discover
from kdbench.registry.notice import once
from kdbench.registry.origin import Origin
from kdbench.text.terminal import print_prose
from kdbench.text.wording import counted
from kdbench.util import paths

if TYPE_CHECKING:
    from kdbench.testing.plugins import Broken

ORDER = (
    *("methods", "teachers", "datasets"),
    *("representations", "encoders", "poolings", "fusions", "losses", "semantics"),
    "launchers",
)
SUITES = "suites"
TUNED = "tuned methods"
_LISTED = (*ORDER, SUITES)
_HEADINGS = {"summary": "what it is"}
_BUILT_IN = "built in"
_FIRST = 5
"""Names of a kind that the overview shows."""
_KIND_OF = {plural: kind for kind, plural in KINDS.items()}

Row = dict[str, Any]


def list_parts(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(_LISTED)}. An overview by default.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every name of every kind.")] = False,
    aliases: Annotated[
        bool, typer.Option("--aliases", help="Former names of methods, and the method and teacher of each.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    broken: Annotated[
        bool, typer.Option("--broken", help="Import every plugin and show the tracebacks of those that fail.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option("--seconds", help="With --broken: time limit for the import of one plugin, in seconds.", min=1),
    ] = 60,
) -> None:
    """List methods, data sets, components and suites, with their origin; without a kind, how many there are."""
    if aliases:
        if kind is not None and _plural(kind) != "methods":
            raise UsageError("--aliases are of methods", hint="kdbench list methods --aliases")
        _show_aliases(as_json=as_json)
        return
    kinds = _with_tuned([_plural(kind)] if kind else list(_LISTED))
    if broken:
        _show_broken(kinds, seconds, as_json=as_json)
    elif as_json:
        typer.echo(json.dumps({name: rows(name) for name in kinds}, indent=2, ensure_ascii=False))
    elif kind or everything:
        _show(kinds)
    else:
        _show_overview(kinds)
    for name in _registered(kinds):
        for line in registry(_KIND_OF[name]).clashes():
            once(f"warning: {line}")


def _with_tuned(kinds: list[str]) -> list[str]:
    """The kinds, with tuned methods after the others where there are any."""
    if "methods" not in kinds or not shipped.tuned():
        return kinds
    place = kinds.index("methods") + 1
    return [*kinds[:place], TUNED, *kinds[place:]]


def rows(kind: str) -> list[Row]:
    """Name, origin and one line on each part of a kind, sorted by name; of a suite, the number of its runs as well.

    Args:
        kind: In the plural, as in `ORDER`, `suites`, or `tuned methods`.
    """
    if kind == SUITES:
        return _suites()
    if kind == TUNED:
        return [{"name": name, "origin": _BUILT_IN, "summary": _tuned_summary(name)} for name in shipped.tuned()]
    origins = registry(_KIND_OF[kind]).origins()
    return [
        {"name": name, "origin": origin.owner, "summary": _summary(kind, origin)} for name, origin in origins.items()
    ]


def _names(kind: str) -> list[str]:
    """Names of a kind alone, plugins' before all; reads no file of a part."""
    if kind == SUITES:
        from kdbench.grid.suite import shipped_suites

        return shipped_suites()
    if kind == TUNED:
        return list(shipped.tuned())
    origins = registry(_KIND_OF[kind]).origins()
    return sorted(origins, key=lambda name: origins[name].built_in)


def _suites() -> list[Row]:
    from kdbench.grid.suite import load_suite, shipped_suites

    suites = {name: load_suite(name) for name in shipped_suites()}
    return [
        {"name": name, "origin": _BUILT_IN, "runs": suite.run_count, "summary": suite.summary}
        for name, suite in suites.items()
    ]


def _tuned_summary(name: str) -> str:
    path = shipped.path_of(name)
    return _line_of(path, "summary") if path is not None else ""


def _registered(kinds: list[str]) -> list[str]:
    """Those that plugins can add to."""
    return [kind for kind in kinds if kind in _KIND_OF]


def _summary(kind: str, origin: Origin) -> str:
    if origin.fault:
        return f"broken: {origin.fault}"
    try:
        if kind in ("methods", "teachers"):
            return _line_of(shipped.file_of(origin), "summary")
        if kind == "datasets":
            return _line_of(_card(origin), "title")
    except UsageError as error:
        return f"broken: {error.message}"
    return origin.summary()


def _card(origin: Origin) -> Path:
    if origin.built_in:
        return paths.folder("datasets") / origin.name / "card.yaml"
    return origin.beside("card.yaml")


def broken_parts(kinds: list[str], seconds: float = 60) -> list[Broken]:
    """The plugins that cannot be used, with their tracebacks.

    Args:
        kinds: In the plural, as in `ORDER`.
        seconds: How long the import of each may take.
    """
    from kdbench.testing import plugins

    names = [_KIND_OF[kind] for kind in _registered(kinds)]
    origins = [origin for origin in discover(GROUPS).origins if origin.kind in names]
    return plugins.broken(sorted(origins, key=lambda origin: (names.index(origin.kind), origin.name)), seconds=seconds)


def _line_of(path: Path, key: str) -> str:
    """One top-level value of a YAML file; empty where the file is missing or broken, which its use will report."""
    from kdbench.util.paths import read_mapping

    try:
        return str(read_mapping(path, "file").get(key, ""))
    except UsageError:
        return ""


def _show_overview(kinds: list[str]) -> None:
    """A line for each kind: how many there are and the first names, plugins' before all; then how to see the rest."""
    console = console_for()
    by_kind = {kind: _names(kind) for kind in kinds}
    counts = {kind: f"{len(names)} {kind}" for kind, names in by_kind.items()}
    width = max(map(len, counts.values()))
    for kind, names in by_kind.items():
        room = console.width - width - 2
        print_prose(console, f"{counts[kind]:<{width}}  {_beginning(names, room)}")
    print_prose(console, f"\nAll of a kind, with what each is, for example: kdbench list {kinds[0]}", "dim")
    print_prose(console, "All of every kind: kdbench list --all", "dim")


def _beginning(names: Sequence[str], room: int) -> str:
    """The first names, as many as there is room for."""
    for count in range(min(len(names), _FIRST), 0, -1):
        text = ", ".join(names[:count]) + (", …" if count < len(names) else "")
        if len(text) <= room:
            return text
    return names[0] if names else ""


def _show(kinds: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from kdbench.text.terminal_table import print_table

    console = console_for()
    for kind in kinds:
        table = Table(
            box=None, pad_edge=False, title=kind, title_justify="left", title_style="bold", header_style="dim"
        )
        parts = rows(kind)
        families = registry(_KIND_OF[kind]).families() if kind in _KIND_OF else {}
        more = [Origin(_KIND_OF[kind], f"{prefix}:NAME", target) for prefix, target in families.items()]
        owners = {row["origin"] for row in parts} | {family.owner for family in more}
        shown = [key for key in parts[0] if key != "origin" or owners != {_BUILT_IN}]
        for key in shown:
            table.add_column(
                _HEADINGS.get(key, key), no_wrap=key != "summary", justify="right" if key == "runs" else "left"
            )
        for row in parts:
            table.add_row(
                *(escape(str(row[key])) for key in shown), style=None if row["origin"] == _BUILT_IN else "cyan"
            )
        for family in more:
            cells = {"name": family.name, "origin": family.owner, "summary": family.summary()}
            table.add_row(*(escape(cells[key]) for key in shown), style="dim")
        print_table(console, table)
        if kind != kinds[-1]:
            console.print()


def _show_aliases(*, as_json: bool) -> None:
    from rich.table import Table

    from kdbench.text.terminal_table import print_table

    pairs = [{"name": name, **pair._asdict()} for name, pair in shipped.aliases().items()]
    if as_json:
        typer.echo(json.dumps(pairs, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for key in ("former name", "method", "teacher"):
        table.add_column(key, no_wrap=True)
    for row in pairs:
        table.add_row(*row.values())
    print_table(console_for(), table)


def _show_broken(kinds: list[str], seconds: float, *, as_json: bool) -> None:
    reported = [
        {
            "kind": broken.origin.kind,
            "name": broken.origin.name,
            "origin": broken.origin.owner,
            "target": broken.origin.target,
            "traceback": broken.text,
        }
        for broken in broken_parts(kinds, seconds)
    ]
    unreadable = discover(GROUPS).unreadable
    reported += [
        {"kind": "distribution", "name": owner, "origin": owner, "target": "entry_points.txt", "traceback": reason}
        for owner, reason in unreadable
    ]
    if as_json:
        typer.echo(json.dumps(reported, indent=2, ensure_ascii=False))
        return
    from kdbench.text.terminal import printable

    for row in reported:
        typer.echo(printable(f"{row['kind']} {row['name']} ({row['target']}, {row['origin']})\n{row['traceback']}\n"))
    typer.echo(f"{counted(len(reported), 'broken plugin')}" if reported else "every plugin can be imported")


def _plural(kind: str) -> str:
    plural = SUITES if kind == "suite" else KINDS.get(kind, kind)
    if plural not in _LISTED:
        raise unknown("kind of part", kind, _LISTED, hint="See what there is of each kind: kdbench list")
    return plural
