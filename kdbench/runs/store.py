"""The runs in a folder, for everything that reads many of them: comparison, explanation, leaderboard, grids."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import DataError, KdbenchError
from kdbench.recipes.pairs import pair_of, title_of
from kdbench.recipes.shipped import former_name
from kdbench.runs.naming import label_of
from kdbench.runs.schema import FINISHED, checked
from kdbench.util.collecting import without_collecting
from kdbench.util.records import is_sealed, read_json, unlike

if TYPE_CHECKING:
    import pandas as pd

RESULT = "run.json"


@dataclass(frozen=True)
class StoredRun:
    """One run's folder.

    Attributes:
        folder: Where it lies.
        result: What its `run.json` says.
        place: The folder of its files: below its own, where a new result was finished and not moved up yet.
    """

    folder: Path
    result: Mapping[str, Any]
    place: Path | None = None

    @property
    def parts(self) -> tuple[StoredRun, ...]:
        """The trainings that it reports: itself."""
        return (self,)

    def file(self, name: str) -> Path:
        """Where one of its files lies.

        Args:
            name: Such as `predictions.parquet`.

        Raises:
            DataError: It is there, and is not the file that `run.json` names by its hash: it is damaged, or of
                another run.
        """
        path = (self.place or self.folder) / name
        recorded = self._recorded(name)
        if recorded is not None and path.is_file() and unlike(path.parent, {name: recorded}):
            raise _another(name)
        return path

    def content(self, name: str) -> bytes:
        """What one of its files holds, read once for its hash and for what it says.

        Args:
            name: Such as `predictions.parquet`.

        Raises:
            DataError: As of `file`.
            OSError: It cannot be read.
        """
        data = ((self.place or self.folder) / name).read_bytes()
        recorded = self._recorded(name)
        if recorded is not None and hashlib.sha256(data).hexdigest() != recorded:
            raise _another(name)
        return data

    def _recorded(self, name: str) -> str | None:
        sha256: str | None = (self.result.get("files") or {}).get(name)
        return sha256

    @cached_property
    def is_sealed(self) -> bool:
        """Whether its `run.json` is, to the last digit, what the run wrote."""
        return is_sealed(self.result)

    @property
    def method(self) -> str:
        """The method, by its name of today."""
        return pair_of(self.result)[0]

    @property
    def teacher(self) -> str | None:
        """The teacher's name; None without one, and for one that a recipe of one's own describes."""
        return pair_of(self.result)[1]

    @property
    def called(self) -> tuple[str, ...]:
        """What commands know it by: its name, its method, alone and with its teacher, and what both were called."""
        former = former_name(self.method, self.teacher or "")
        return (self.method, self.label, self.title, *filter(None, (former,)))

    @property
    def title(self) -> str:
        """The method with its teacher, in one line."""
        return _printable(title_of(*pair_of(self.result)))

    @property
    def name(self) -> str:
        """What the user called it; empty where nothing was said."""
        return _printable(str(self.result.get("name") or ""))

    @property
    def method_label(self) -> str:
        """Its method with its teacher, and whether that was tuned."""
        return _printable(label_of(self.title, tuned=bool(self.result.get("tuning"))))

    @property
    def label(self) -> str:
        """What it is called: its name, else its method and whether that was tuned; nothing that moves a cursor."""
        return self.name or self.method_label

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.result["seed"])

    @property
    def status(self) -> str:
        """`finished`, `running`, `interrupted` or `failed`; a killed process leaves `running`."""
        return str(self.result["status"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of the reported network; empty before the run is finished."""
        return self.result.get("metrics") or {}

    @property
    def conditions(self) -> Mapping[str, Any]:
        """All that must be equal for two results to stand in one ranking."""
        conditions: Mapping[str, Any] = self.result["conditions"]
        return conditions

    def predictions(self) -> pd.DataFrame:
        """The table of `predictions.parquet`: trial, label, shuffle, batch size, and a logit per class.

        Raises:
            DataError: It is missing or broken.
        """
        import pandas as pd

        path = (self.place or self.folder) / "predictions.parquet"
        try:
            return pd.read_parquet(path)
        except Exception as error:
            raise DataError(
                f"{path} cannot be read: {type(error).__name__}: {error}",
                hint="Train that run again: repeat its command with --fresh.",
            ) from error


def _another(name: str) -> DataError:
    return DataError(
        f"{name} is not the file that the run wrote, by its sha256",
        hint="Repeat the run's `kdbench run` command: it trains again what is damaged.",
    )


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


@dataclass(frozen=True)
class Unreadable:
    """A folder that looks like a run and cannot be used, and why."""

    folder: Path
    why: str


def stored_run(folder: Path) -> StoredRun:
    """The run of one folder.

    Raises:
        DataError: Its `run.json` is missing, broken, or of another version.
    """
    path = Path(folder) / RESULT
    try:
        return _read(path)
    except DataError as error:
        if str(path) not in error.message:
            raise DataError(f"{path}: {error.message}", hint=error.hint) from error
        raise DataError(
            error.message, hint="Train it again: delete that file, and repeat its `kdbench run` command."
        ) from error


@without_collecting()
def stored_runs(root: Path) -> tuple[list[StoredRun], list[Unreadable]]:
    """Every run in a folder of runs, sorted by name, and the folders that hold a broken one.

    Args:
        root: The folder; its `teachers/` are no runs. One that does not exist holds none.
    """
    runs: list[StoredRun] = []
    broken: list[Unreadable] = []
    for path in sorted(Path(root).glob(f"*/{RESULT}")):
        try:
            runs.append(_read(path))
        except KdbenchError as error:
            broken.append(Unreadable(path.parent, error.message))
    return runs, broken


def _read(path: Path) -> StoredRun:
    folder = path.parent
    # A new result is finished with its own file, and moved up afterwards.
    newer = folder / "fresh" / RESULT
    if newer.is_file():
        with contextlib.suppress(KdbenchError):
            result = checked(read_json(newer))
            if result["status"] == FINISHED:
                return StoredRun(folder, result, newer.parent)
    return StoredRun(folder, checked(read_json(path)))
