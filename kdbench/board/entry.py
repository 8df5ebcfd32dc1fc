"""Where a submission lies, how it is named by its content, and how its files are read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from kdbench.board.schema import SCHEMA_VERSION, Submission
from kdbench.errors import DataError, UsageError
from kdbench.recipe import Recipe
from kdbench.results.files import read_json

if TYPE_CHECKING:
    import pyarrow as pa

RESULT, PREDICTIONS, RECIPE, ENVIRONMENT = "result.json", "predictions.parquet", "recipe.yaml", "environment.json"
PICTURES = ("grad_cam.png", "grad_cam.gif")
VERIFICATION = "verification.json"
"""Written after a submission was trained again; no part of its content."""
COLUMNS = ("seed", "trial", "label", "shuffle", "logits")
_LISTED = 8
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Predictions:
    """The rows of `predictions.parquet`.

    Attributes:
        seed: `(N,)`.
        trial: `(N,)`, strings.
        label: `(N,)`.
        shuffle: `(N,)`: number of the order in which the test part was seen; 0 where that does not matter.
        logits: `(N, K)`.
    """

    seed: np.ndarray
    trial: np.ndarray
    label: np.ndarray
    shuffle: np.ndarray
    logits: np.ndarray

    def at(self, rows: np.ndarray) -> Predictions:
        """Some of the rows, by a mask or by positions."""
        return Predictions(*(values[rows] for values in (self.seed, self.trial, self.label, self.shuffle, self.logits)))


@dataclass(frozen=True)
class Entry:
    """A submission on the disk."""

    folder: Path
    result: Submission

    @cached_property
    def predictions(self) -> Predictions:
        """Every seed's predictions.

        Raises:
            DataError: The file is missing, broken, or has other columns.
        """
        return read_predictions(self.folder / PREDICTIONS)

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe.

        Raises:
            DataError: It is missing, or no resolved recipe.
        """
        try:
            # The C loader is the same safe loader, ten times as fast.
            return Recipe.model_validate(yaml.load(self.recipe_text, Loader=_LOADER))
        except yaml.YAMLError as error:
            raise DataError(f"{RECIPE} is not YAML: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its content"
            raise DataError(f"{RECIPE} is no resolved recipe: {where}: {first['msg']}") from error

    @cached_property
    def recipe_text(self) -> str:
        """The resolved recipe as it was submitted.

        Raises:
            DataError: It is missing or no text.
        """
        try:
            return (self.folder / RECIPE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.folder / RECIPE} cannot be read: {error}") from error


def place(result: Submission) -> Path:
    """Folder of a submission below `submissions/`."""
    return Path(slug(result.dataset), slug(result.protocol), slug(result.method), result.id)


def slug(text: str) -> str:
    """A name as one folder's name, whatever it holds."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:80] or "_"


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a `result.json`: a hash of everything in it but the id."""
    rest = {key: value for key, value in content.items() if key != "id"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def board_folder(given: Path | None) -> Path:
    """The board: what was given, or `./leaderboard`.

    Raises:
        UsageError: There is no such folder.
    """
    folder = given or Path("leaderboard")
    if not folder.is_dir():
        raise UsageError(f"there is no board in {folder}", hint="Name its folder: --board DIR")
    return folder


def found(board: Path) -> list[Path]:
    """Folders of all submissions of a board, sorted: whatever holds a file below `submissions/` at its depth."""
    root = board / "submissions"
    return sorted({path.parent for path in root.glob("*/*/*/*/*")} | {path.parent for path in root.rglob(RESULT)})


def below(paths: list[Path]) -> Iterator[Path]:
    """The submissions that some paths name: each is one, or holds some.

    Raises:
        UsageError: A path holds none.
    """
    for path in paths:
        folders = [path] if (path / RESULT).is_file() else sorted(p.parent for p in path.rglob(RESULT))
        if not folders:
            raise UsageError(f"there is no submission in {path}: none of its folders holds a {RESULT}")
        yield from folders


def load(folder: Path) -> Entry:
    """Reads a submission's `result.json`.

    Raises:
        DataError: It is missing, of another version, or not what the schema says; every fault is listed.
    """
    content = read_json(folder / RESULT)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{RESULT} has schema version {version!r}, and this kdbench reads {SCHEMA_VERSION}")
    try:
        return Entry(folder, Submission.model_validate(content))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise DataError(f"{RESULT} is not what its schema says: {'; '.join(faults[:_LISTED])}{more}") from error


def read_predictions(path: Path) -> Predictions:
    """Reads `predictions.parquet`.

    Raises:
        DataError: It is missing, broken, or has other columns, a null, or rows of unlike numbers of logits.
    """
    import pyarrow.parquet as pq

    try:
        # Single-threaded: the files are small, and a pool costs more than it saves.
        held: pa.Table = pq.read_table(path, columns=None, use_threads=False)
    except Exception as error:
        raise DataError(f"{path.name} cannot be read: {type(error).__name__}: {error}") from error
    if set(held.column_names) != set(COLUMNS):
        raise DataError(f"{path.name} has the columns {', '.join(held.column_names)}; expected {', '.join(COLUMNS)}")
    try:
        plain = [held[name].combine_chunks() for name in COLUMNS]
        if any(column.null_count for column in plain):
            raise ValueError("a value is missing")
        lengths = np.asarray(plain[4].value_lengths())
        if len(lengths) == 0 or (lengths != lengths[0]).any():
            raise ValueError("the rows have unlike numbers of logits, or there is none")
        logits = plain[4].flatten().to_numpy(zero_copy_only=False).reshape(len(lengths), -1)
        integers = [np.asarray(plain[k]).astype(np.int64, casting="safe") for k in (0, 2, 3)]
        trials = np.array(plain[1].to_pylist(), dtype=str)
        return Predictions(
            integers[0], trials, integers[1], integers[2], logits.astype(np.float32, casting="same_kind")
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name} is not a table of predictions: {error}") from error
