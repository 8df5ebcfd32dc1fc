"""A method with its teacher, as what a person calls it: from recipes, and from results that were written before."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.recipes import shipped
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS

TAUGHT_BY = "taught_by"


# Asked for every run of a listing, and every submission of a board.
@functools.lru_cache(maxsize=16_384)
def own_teacher(method: str) -> str | None:
    """The teacher that a shipped method itself names; None for one without a teacher, and for one's own recipe."""
    try:
        return resolve(method, PRESETS[1]).taught_by if shipped.path_of(method) is not None else None
    except KdbenchError:
        return None


def pair_of(result: Mapping[str, Any]) -> tuple[str, str | None]:
    """The method and the teacher of a result, by their names of today.

    Args:
        result: A `run.json`; one that names no teacher was written when a method's name stood for both.
    """
    method = str(result["method"])
    if TAUGHT_BY in result:
        return shipped.renamed().get(method, method), result[TAUGHT_BY]
    if pair := shipped.aliases().get(method):
        return pair
    return method, own_teacher(method)


def stem_of(method: str, teacher: str | None) -> str:
    """What files of a method with its teacher are called: `kd+raw`; see `title_of`."""
    return title_of(method, teacher).replace(" ", "")


def options_of(method: str, teacher: str | None) -> str:
    """A method with its teacher as options of a command: `--method kd --teacher raw`."""
    return f"--method {method}" + (f" --teacher {teacher}" if teacher else "")


def title_of(method: str, teacher: str | None) -> str:
    """A method with its teacher in one line, such as `kd + raw`; a teacher that is the method's own is left out."""
    return method if teacher in (None, own_teacher(method)) else f"{method} + {teacher}"
