"""The page of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from kdbench.cli import COMMANDS, load
from kdbench.cli.variables import VARIABLES
from pages.prose import plain, table

PATH = "reference/command-line.md"


def pages() -> Iterator[tuple[str, str]]:
    """Its path and Markdown."""
    blocks = [
        "# Command line",
        "`kdbench COMMAND --help` prints the same. `--debug` and `--plugin FILE` may stand anywhere on a line.",
        table(("command", ""), ([f"[`{name}`](#kdbench-{name})", words] for name, (_, words) in COMMANDS.items())),
    ]
    for name, (target, _) in COMMANDS.items():
        blocks += _command(f"kdbench {name}", load(target), "##")
    blocks += [
        "## Variables",
        table(("variable", ""), ([f"`{name}`", plain(said)] for name, said in VARIABLES.items())),
    ]
    yield PATH, "\n\n".join(blocks) + "\n"


def _command(name: str, command: Any, level: str) -> Iterator[str]:
    yield f"{level} {name}"
    yield plain(inspect.cleandoc(command.help or ""))
    children = getattr(command, "commands", {})
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    if not children:
        yield table(("argument or option", "default", ""), map(_row, shown))
    for child, inner in children.items():
        yield from _command(f"{name} {child}", inner, f"{level}#")


def _row(parameter: Any) -> list[str]:
    """The spellings of an option, its default and its help."""
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    said = "" if default is None or default is False or callable(default) or default == [] else f"`{default}`"
    if parameter.required:
        said = "required"
    more = " Repeatable." if parameter.multiple and "repeatable" not in (parameter.help or "") else ""
    return [names, said, plain(parameter.help or "") + more]
