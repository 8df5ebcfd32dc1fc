"""Names of runs: what a user calls one, which changes no number, and its folder's by the method's name of today."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError
from kdbench.text.wording import counted
from kdbench.util.records import read_json, write_json

LONGEST = 80


def checked_name(name: str | None) -> str | None:
    """The name without spaces around it; None leaves a run's name as it is, and an empty one takes it away.

    Raises:
        UsageError: It is too long, or holds what no terminal shows.
    """
    if name is None:
        return None
    name = str(name).strip()
    if len(name) > LONGEST:
        raise UsageError(
            f"the name of a run has {counted(len(name), 'character')}, expected at most {LONGEST}",
            hint="Give a shorter one: --name NAME",
        )
    if not name.isprintable():
        raise UsageError(f"the name {name!r} holds characters that cannot be shown", hint="Write it in one line.")
    return name


def renamed(folder: Path, result: dict[str, Any], name: str | None) -> dict[str, Any]:
    """A finished run's result under a name; its `run.json` is written where the name is another one.

    Args:
        folder: The run's folder, which the caller has locked.
        result: What its `run.json` says.
        name: As `checked_name` gives it.
    """
    if name is None or (name or None) == result.get("name"):
        return result
    named = {**result, "name": name or None}
    write_json(folder / "run.json", named)
    return named


def rename(folder: Path, name: str) -> None:
    """Gives the finished run of a folder a name; see `renamed`."""
    renamed(folder, read_json(folder / "run.json"), name)


def label_of(method: str, *, tuned: bool) -> str:
    """What tables call the runs of a method that have no name of their own."""
    return f"{method} (tuned)" if tuned else method


def is_today(folder: str, method: str, word: str) -> bool:
    """Whether a word is, or begins, what a run's folder would be called by its method's name of today.

    Args:
        folder: The folder's name, which keeps the name that the method had when it was first run.
        method: The method; empty where it is not known.
        word: The word, or a pattern with `*`, `?` or `[…]`.
    """
    today = by_today(folder, method)
    return bool(method) and (today.startswith(word) or fnmatchcase(today, word))


def by_today(folder: str, method: str) -> str:
    """What a run's folder would be called by its method's name of today.

    Args:
        folder: The folder's name.
        method: The method.
    """
    return f"{method}-{folder.partition('-')[2]}"
