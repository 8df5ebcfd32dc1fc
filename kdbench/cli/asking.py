"""Asks a person at a terminal for the names that `kdbench run` cannot do without."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Collection, Sequence

import typer

from kdbench.errors import KdbenchError, UsageError
from kdbench.text.wording import counted

FIRST_METHODS = ("student_only", "kd", "rkd", "sgm_ft")
GENERATED = "motionsim"
_LISTED = 8
_EXAMPLE = "For example: kdbench run --method sgm_ft --dataset motionsim --preset smoke"


def can_ask() -> bool:
    """Whether somebody sits there who can answer: both ends are a terminal, and this is no continuous integration."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI")


def completed(
    methods: Sequence[str], datasets: Sequence[str], preset: str | None
) -> tuple[list[str], list[str], str | None]:
    """The names as given, with what is missing of them asked for.

    What was asked is printed as the command that would have said it at once.

    Args:
        methods: As given; empty where it is missing.
        datasets: As given; empty where it is missing.
        preset: As given; asked for together with another name, and never alone.

    Raises:
        UsageError: A name is missing and nobody can be asked, or the answer is the end of the input.
        KeyboardInterrupt: Ctrl-C at a question.
    """
    methods, datasets = list(methods), list(datasets)
    missing = [option for option, names in (("--method", methods), ("--dataset", datasets)) if not names]
    if not missing:
        return methods, datasets, preset
    if not can_ask():
        raise UsageError(f"{missing[0]} is missing", hint=_EXAMPLE)
    from kdbench.recipes.schema import PRESETS
    from kdbench.registry import registry
    from kdbench.runs.names import check_names

    try:
        if not methods:
            shown = [*FIRST_METHODS, *registry("method").names()]
            methods = [_ask("Method", shown, "sgm_ft", lambda name: check_names([name], []), "kdbench list methods")]
        if not datasets:
            check = lambda name: check_names([], [name])  # noqa: E731
            shown = [*registry("dataset").names(), "FOLDER/card.yaml"]
            datasets = [_ask("Data set", shown, GENERATED, check, "kdbench list datasets")]
        if preset is None:
            usual = "smoke" if datasets == [GENERATED] else "auto"
            preset = _ask("Preset", [*PRESETS, "auto"], usual, lambda name: check_names([], [], preset=name), "")
    except typer.Abort as end:
        # A prompt makes one of Ctrl-C and of the end of the input.
        if isinstance(end.__context__, KeyboardInterrupt):
            raise end.__context__ from None
        raise UsageError(f"{' and '.join(missing)}: no answer", hint=_EXAMPLE) from end
    words = ["--method", methods[0], "--dataset", datasets[0], "--preset", preset]
    typer.echo(f"The same without questions: kdbench run {shlex.join(words)}\n")
    return methods, datasets, preset


def _ask(what: str, names: Collection[str], usual: str, check: Callable[[str], None], where: str) -> str:
    """One name; asks again until it exists.

    Args:
        what: What is asked for.
        names: The first of them are shown.
        usual: What an empty answer means.
        check: Raises `UsageError` for a name that does not exist.
        where: The command that lists all.
    """
    unique = list(dict.fromkeys(names))
    more = f", … ({counted(len(unique), 'name')}: {where})" if len(unique) > _LISTED else ""
    typer.echo(f"{what}: {', '.join(unique[:_LISTED])}{more}")
    while True:
        name = str(typer.prompt(f"{what}", default=usual)).strip()
        try:
            check(name)
        except KdbenchError as error:
            typer.echo(f"{error.message}" + (f"\n{error.hint}" if error.hint else ""), err=True)
        else:
            return name
