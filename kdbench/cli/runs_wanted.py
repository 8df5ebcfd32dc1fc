"""Which runs a listing is asked for: the values of its options, each held to what exists."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from kdbench.errors import unknown

if TYPE_CHECKING:
    from kdbench.runs.overview import RunRow

_HINT = "See the runs that there are: kdbench runs list"


def wanted(rows: Sequence[RunRow], asked: Mapping[str, str | int | None]) -> list[RunRow]:
    """The runs that have all values asked for; none of them where a value is right and nothing was run with it.

    Args:
        rows: The runs of a folder.
        asked: By the attribute of a row, the value that it should have; None for any. A data set may be the path of its
            card.

    Raises:
        UsageError: No run has a value, and nothing is called so; the near misses are named.
    """
    from kdbench.data.card import name_of

    given = {key: value for key, value in asked.items() if value is not None}
    if "dataset" in given:
        given["dataset"] = name_of(str(given["dataset"]))
    for key, value in given.items():
        seen = {str(getattr(row, key)) for row in rows} - {""}
        if key in _KNOWN and str(value) not in seen:
            kind, names = _KNOWN[key]
            known = seen | set(names())
            if not any(_is_named(str(value), name) for name in known):
                raise unknown(kind, str(value), known, hint=_HINT)
    return [row for row in rows if all(getattr(row, key) == value for key, value in given.items())]


def _is_named(value: str, name: str) -> bool:
    """Whether a name, in which `{subject}` stands for anything, is a value's."""
    parts = re.split(r"\{\w+\}", name)
    return re.fullmatch(".+".join(map(re.escape, parts)), value) is not None


def _presets() -> Collection[str]:
    from kdbench.recipes.schema import PRESETS

    return PRESETS


def _statuses() -> Collection[str]:
    from kdbench.runs.overview import STATUSES

    return STATUSES


def _methods() -> Collection[str]:
    from kdbench.recipes.shipped import aliases
    from kdbench.registry import registry

    return {*registry("method").origins(), *aliases()}


def _teachers() -> Collection[str]:
    from kdbench.registry import registry

    return registry("teacher").origins()


def _datasets() -> Collection[str]:
    from kdbench.registry import registry

    return registry("dataset").origins()


def _protocols() -> Collection[str]:
    from kdbench.data.card import load_card

    return {protocol for name in _datasets() for protocol in load_card(name).protocols}


_KNOWN: Mapping[str, tuple[str, Callable[[], Collection[str]]]] = {
    "dataset": ("data set", _datasets),
    "method": ("method", _methods),
    "teacher": ("teacher", _teachers),
    "protocol": ("protocol", _protocols),
    "preset": ("preset", _presets),
    "status": ("status", _statuses),
}
"""What the value of an attribute is called, and what may be one beside those that runs have."""
