"""Tuned recipes as files that can be shipped: a folder per data set, a recipe per method, its study's record beside."""

from __future__ import annotations

import os
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.tuning.report import recipe_text
from kdbench.tuning.searching import SearchResult
from kdbench.util.records import write_bytes, write_json

RECORD = ".search.json"
_OF_THIS_MACHINE = ("storage", "recipe")
"""What a report says of where it lies."""


def write_tuned(result: SearchResult, folder: Path, stem: str | None = None) -> Path:
    """Writes a search's recipe, `METHOD.yaml`, and beside it the record of its study, `METHOD.search.json`.

    Args:
        result: The finished search.
        folder: Where; made where it is not there.
        stem: Name of both files; the method's by default.

    Returns:
        The recipe's path.
    """
    plan, record = result.plan, result.tuning
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem or plan.stem}.yaml"
    kept = {key: value for key, value in result.report.items() if key not in _OF_THIS_MACHINE}
    write_json(path.with_name(f"{path.stem}{RECORD}"), kept)

    def written(file: Path) -> str:
        way = os.path.relpath(file.absolute(), folder.absolute())
        # A bare name would be looked up among the shipped recipes.
        return way if os.sep in way else f".{os.sep}{way}"

    write_bytes(path, recipe_text(plan, record, written).encode())
    return path


def check_folder(folder: Path) -> None:
    """Makes a folder for recipes, before anything is searched.

    Raises:
        UsageError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--recipes {folder} cannot be made: {error.strerror}", hint="Name another folder.") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--recipes {folder} cannot be written", hint="Name another folder.")
