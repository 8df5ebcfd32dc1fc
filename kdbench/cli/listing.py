"""`kdbench list`: every name with its origin; imports no component, so that it is quick."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Annotated

import typer

from kdbench import methods, resources
from kdbench.errors import UsageError, unknown
from kdbench.registry import KINDS, registry

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
) -> None:
    """Lists methods, data sets and parts, with where each comes from."""
    kinds = [_plural(kind)] if kind else list(ORDER)
    if broken:
        _show_broken(kinds)
    elif as_json:
        typer.echo(json.dumps({name: rows(name) for name in kinds}, indent=2, ensure_ascii=False))
    else:
        _show(kinds)


def rows(kind: str) -> list[Row]:
    """Name, origin and one line on each part of a kind, sorted by name.

    Args:
        kind: In the plural, as in `ORDER`.
    """
    found = []
    for name, origin in registry(_KIND_OF[kind]).origins().items():
        if kind == "methods":
            path = methods.path_of(name)
            summary = _line_of(path, "summary") if path else ""
        elif kind == "datasets" and origin.distribution == "kdbench":
            summary = _line_of(resources.folder("datasets") / name / "card.yaml", "title")
        else:
            summary = origin.summary()
        found.append({"name": name, "origin": origin.owner, "summary": summary})
    return found


def broken_parts(kind: str) -> list[tuple[Row, str]]:
    """The plugins of a kind that cannot be imported, with their tracebacks.

    Args:
        kind: In the plural, as in `ORDER`.
    """
    found = []
    parts = {} if kind == "methods" else registry(_KIND_OF[kind]).origins()
    for name, origin in parts.items():
        if origin.distribution == "kdbench":
            continue
        try:
            registry(_KIND_OF[kind]).get(name)
        except UsageError as error:
            cause = error.__cause__ or error
            text = "".join(traceback.format_exception(cause)).rstrip()
            found.append(({"name": name, "origin": origin.owner, "summary": origin.target}, text))
    return found


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
        console.print(table)
        if kind != kinds[-1]:
            console.print()


def _show_broken(kinds: list[str]) -> None:
    count = 0
    for kind in kinds:
        for row, text in broken_parts(kind):
            count += 1
            typer.echo(f"{_KIND_OF[kind]} {row['name']} ({row['summary']}, {row['origin']})\n{text}\n")
    typer.echo(f"{count} broken" if count else "every plugin can be imported")


def _plural(kind: str) -> str:
    plural = KINDS.get(kind, kind)
    if plural not in ORDER:
        raise unknown("kind of part", kind, ORDER)
    return plural
