"""`kdbench list`: every name with its origin; imports no component, so that it is quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench import methods, resources
from kdbench.errors import UsageError, unknown
from kdbench.plugins.discovery import discover
from kdbench.plugins.notice import once
from kdbench.plugins.origin import Origin
from kdbench.registry import GROUPS, KINDS, registry

if TYPE_CHECKING:
    from kdbench.plugins.probe import Broken

ORDER = ("methods", "datasets", "representations", "encoders", "fusions", "losses", "semantics")
_KIND_OF = {plural: kind for kind, plural in KINDS.items()}
_PIPE_WIDTH = 200

Row = dict[str, str]


def list_parts(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(ORDER)}; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    broken: Annotated[
        bool, typer.Option("--broken", help="Import every plugin, and show the tracebacks of those that fail.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", help="With --broken: how long the import of a plugin may take.", min=1)
    ] = 60,
) -> None:
    """Lists methods, data sets and parts, with where each comes from."""
    kinds = [_plural(kind)] if kind else list(ORDER)
    if broken:
        _show_broken(kinds, seconds, as_json=as_json)
    elif as_json:
        typer.echo(json.dumps({name: rows(name) for name in kinds}, indent=2, ensure_ascii=False))
    else:
        _show(kinds)
    for name in kinds:
        for line in registry(_KIND_OF[name]).clashes():
            once(f"warning: {line}")


def rows(kind: str) -> list[Row]:
    """Name, origin and one line on each part of a kind, sorted by name.

    Args:
        kind: In the plural, as in `ORDER`.
    """
    origins = registry(_KIND_OF[kind]).origins()
    return [
        {"name": name, "origin": origin.owner, "summary": _summary(kind, origin)} for name, origin in origins.items()
    ]


def _summary(kind: str, origin: Origin) -> str:
    if origin.fault:
        return f"broken: {origin.fault}"
    try:
        if kind == "methods":
            return _line_of(methods.file_of(origin), "summary")
        if kind == "datasets":
            return _line_of(_card(origin), "title")
    except UsageError as error:
        return f"broken: {error.message}"
    return origin.summary()


def _card(origin: Origin) -> Path:
    if origin.built_in:
        return resources.folder("datasets") / origin.name / "card.yaml"
    return origin.beside("card.yaml")


def broken_parts(kinds: list[str], seconds: float = 60) -> list[Broken]:
    """The plugins that cannot be used, with their tracebacks.

    Args:
        kinds: In the plural, as in `ORDER`.
        seconds: How long the import of each may take.
    """
    from kdbench.plugins import probe

    names = [_KIND_OF[kind] for kind in kinds]
    found = [origin for origin in discover(GROUPS).origins if origin.kind in names]
    return probe.broken(sorted(found, key=lambda origin: (names.index(origin.kind), origin.name)), seconds=seconds)


def _line_of(path: Path, key: str) -> str:
    """One top-level value of a YAML file; empty where the file is missing or broken, which its use will report."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return str(content.get(key, "")) if isinstance(content, dict) else ""


def _show(kinds: list[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        # One line a name, whatever the width, for grep and its like.
        console = Console(highlight=False, width=_PIPE_WIDTH)
    for kind in kinds:
        table = Table(
            box=None, pad_edge=False, title=kind, title_justify="left", title_style="bold", header_style="dim"
        )
        for column in ("name", "origin", "what it is"):
            table.add_column(column, no_wrap=column != "what it is")
        for row in rows(kind):
            table.add_row(
                *(escape(text) for text in row.values()), style=None if row["origin"] == "built in" else "cyan"
            )
        for prefix, target in registry(_KIND_OF[kind]).families().items():
            family = Origin(_KIND_OF[kind], f"{prefix}:NAME", target)
            table.add_row(family.name, family.owner, escape(family.summary()), style="dim")
        console.print(table)
        if kind != kinds[-1]:
            console.print()


def _show_broken(kinds: list[str], seconds: float, *, as_json: bool) -> None:
    found = [
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
    found += [
        {"kind": "distribution", "name": owner, "origin": owner, "target": "entry_points.txt", "traceback": reason}
        for owner, reason in unreadable
    ]
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for row in found:
        typer.echo(f"{row['kind']} {row['name']} ({row['target']}, {row['origin']})\n{row['traceback']}\n")
    typer.echo(f"{len(found)} broken" if found else "every plugin can be imported")


def _plural(kind: str) -> str:
    plural = KINDS.get(kind, kind)
    if plural not in ORDER:
        raise unknown("kind of part", kind, ORDER)
    return plural
