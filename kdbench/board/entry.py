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
from pydantic import TypeAdapter, ValidationError

from kdbench import plain_yaml
from kdbench.board.schema import (
    ENVIRONMENT,
    PICTURE,
    PREDICTIONS,
    RECIPE,
    RESULT,
    SCHEMA_VERSION,
    Environment,
    Submission,
)
from kdbench.errors import DataError, UsageError
from kdbench.recipe import Recipe
from kdbench.validation import in_a_line
from kdbench.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

VERIFICATION = "verification.json"
"""Written after a submission was trained again; no part of its content."""
MOST_BYTES = {
    RESULT: 16 * 2**20,
    PREDICTIONS: 256 * 2**20,
    RECIPE: 64 * 2**10,
    ENVIRONMENT: 2**20,
    PICTURE: 512 * 2**10,
    VERIFICATION: 2**20,
}
"""The largest size of each file; an honest one has a small part of it."""
COLUMNS = ("seed", "trial", "label", "shuffle", "logits")
_MOST_UNPACKED = 2**31
_LONGEST_TRIAL = 200
_ENVIRONMENTS = TypeAdapter(tuple[Environment, ...])


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

    @property
    def options(self) -> Mapping[str, Any]:
        """Knobs of a generated data set."""
        found = self.result.conditions["data"].get("options")
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def predictions(self) -> Predictions:
        """Every seed's predictions.

        Raises:
            DataError: The file is missing, broken, or has other columns.
        """
        return read_predictions(self.folder)

    @cached_property
    def environments(self) -> tuple[Environment, ...]:
        """What the seeds ran on.

        Raises:
            DataError: The file is missing, or not what its schema says.
        """
        content = read_json(self.folder, ENVIRONMENT)
        try:
            return _ENVIRONMENTS.validate_python(content)
        except ValidationError as error:
            told = in_a_line(error, tuple[Environment, ...], content)
            raise DataError(f"{ENVIRONMENT} is not what its schema says: {told}") from error

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe.

        Raises:
            DataError: It is missing, or no resolved recipe.
        """
        try:
            content = plain_yaml.parse(self.recipe_text, RECIPE)
        except UsageError as error:
            raise DataError(error.message) from error
        try:
            return Recipe.model_validate(content)
        except ValidationError as error:
            raise DataError(f"{RECIPE} is no resolved recipe: {in_a_line(error, Recipe, content)}") from error

    @cached_property
    def recipe_text(self) -> str:
        """The resolved recipe as it was submitted.

        Raises:
            DataError: It is missing or no text.
        """
        try:
            return read_bytes(self.folder, RECIPE).decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{RECIPE} is no text: {error}") from error


def read_bytes(folder: Path, name: str) -> bytes:
    """Reads a file of a submission.

    Raises:
        DataError: It is missing, a link, or larger than any honest one.
    """
    path = folder / name
    if path.is_symlink():
        raise DataError(f"{name} is a link, expected a file")
    if not path.is_file():
        raise DataError(f"{name} is missing")
    most, size = MOST_BYTES[name], path.stat().st_size
    if size > most:
        raise DataError(f"{name} has {counted(size, 'byte')}, expected at most {most}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error


def read_json(folder: Path, name: str) -> Any:
    """Reads a JSON file of a submission.

    Raises:
        DataError: As `read_bytes`; or it is not JSON, or holds a number that is not finite or half a character.
    """
    try:
        content = json.loads(read_bytes(folder, name))
        # Python's reader takes NaN, 1e999 and lone surrogates, which nobody could write down again.
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
        return content
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not valid JSON: {error}") from error


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
        DataError: It is missing, of another version, or not what the schema says; every fault is listed. Or its folder
            is a link.
    """
    if any(path.is_symlink() for path in (folder, *folder.parents[:3])):
        raise DataError("its folder is a link, or lies in one")
    content = read_json(folder, RESULT)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{RESULT} has schema version {version!r}, and this kdbench reads {SCHEMA_VERSION}")
    try:
        return Entry(folder, Submission.model_validate(content))
    except ValidationError as error:
        told = in_a_line(error, Submission, content)
        raise DataError(f"{RESULT} is not what its schema says: {told}") from error


def read_predictions(folder: Path) -> Predictions:
    """Reads a submission's `predictions.parquet`.

    Raises:
        DataError: It is missing, broken or too large, or has other columns, a null, or rows of unlike numbers of
            logits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(read_bytes(folder, PREDICTIONS)))
        groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
        if sum(group.total_byte_size for group in groups) > _MOST_UNPACKED:
            raise DataError(f"{PREDICTIONS} is too large when it is unpacked")
        # Single-threaded: the files are small, and a pool costs more than it saves.
        held: pa.Table = file.read(use_threads=False)
    except (OSError, ValueError, NotImplementedError, pa.ArrowException) as error:
        raise DataError(f"{PREDICTIONS} cannot be read: {type(error).__name__}: {error}") from error
    if sorted(held.column_names) != sorted(COLUMNS):
        raise DataError(f"{PREDICTIONS} has the columns {', '.join(held.column_names)}; expected {', '.join(COLUMNS)}")
    try:
        return _plain(held)
    except (ValueError, TypeError, AttributeError, NotImplementedError, pa.ArrowException) as error:
        raise DataError(f"{PREDICTIONS} is not a table of predictions: {error}") from error


def _plain(held: pa.Table) -> Predictions:
    seed, trial, label, shuffle, logits = (held[name].combine_chunks() for name in COLUMNS)
    if any(column.null_count for column in (seed, trial, label, shuffle, logits)):
        raise ValueError("a value is missing")
    names = trial.to_pylist()
    if not all(isinstance(name, str) and len(name) <= _LONGEST_TRIAL for name in names):
        raise ValueError(f"the trials are not names of at most {_LONGEST_TRIAL} letters")
    lengths = np.asarray(logits.value_lengths())
    if len(lengths) == 0 or (lengths != lengths[0]).any():
        raise ValueError("the rows have unlike numbers of logits, or there is none")
    values = logits.flatten().to_numpy(zero_copy_only=False).reshape(len(lengths), -1)
    integers = [np.asarray(column).astype(np.int64, casting="safe") for column in (seed, label, shuffle)]
    return Predictions(
        integers[0],
        np.array(names, dtype=str),
        integers[1],
        integers[2],
        values.astype(np.float32, casting="same_kind"),
    )
