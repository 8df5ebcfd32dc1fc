"""The runs in a folder, for everything that reads many of them: comparison, explanation, leaderboard, grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import DataError, KdbenchError
from kdbench.results.files import read_json

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Version of `run.json`; raised whenever a key changes its meaning."""
FINISHED = "finished"
_KEYS = ("method", "dataset", "protocol", "preset", "seed", "status", "conditions", "recipe")


@dataclass(frozen=True)
class StoredRun:
    """One run's folder.

    Attributes:
        folder: Where it lies.
        result: What its `run.json` says.
    """

    folder: Path
    result: Mapping[str, Any]

    @property
    def method(self) -> str:
        """The recipe's name."""
        return str(self.result["method"])

    @property
    def label(self) -> str:
        """What tables call it: the name that the run was given, else its method; nothing that moves a cursor."""
        name = self.result.get("name")
        return "".join(sign if sign.isprintable() else "?" for sign in str(name or self.method))

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
        return self.result["metrics"] or {}

    @property
    def conditions(self) -> Mapping[str, Any]:
        """All that must be equal for two results to stand in one ranking."""
        return self.result["conditions"]

    def predictions(self) -> pd.DataFrame:
        """The table of `predictions.parquet`: trial, label, shuffle, batch size, and a logit a class.

        Raises:
            DataError: It is missing or broken.
        """
        import pandas as pd

        path = self.folder / "predictions.parquet"
        try:
            return pd.read_parquet(path)
        except Exception as error:
            raise DataError(
                f"{path} cannot be read: {type(error).__name__}: {error}",
                hint="Train that run again: repeat its command with --fresh.",
            ) from error


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
    path = Path(folder) / "run.json"
    try:
        return StoredRun(Path(folder), _checked(read_json(path)))
    except DataError as error:
        if str(path) not in error.message:
            raise DataError(f"{path}: {error.message}", hint=error.hint) from error
        raise DataError(
            error.message, hint="Train it again: delete that file, and repeat its `kdbench run` command."
        ) from error


def stored_runs(root: Path) -> tuple[list[StoredRun], list[Unreadable]]:
    """Every run in a folder of runs, sorted by name, and the folders that hold a broken one.

    Args:
        root: The folder; its `teachers/` are no runs. One that does not exist holds none.
    """
    runs: list[StoredRun] = []
    broken: list[Unreadable] = []
    for path in sorted(Path(root).glob("*/run.json")):
        try:
            runs.append(StoredRun(path.parent, _checked(read_json(path))))
        except KdbenchError as error:
            broken.append(Unreadable(path.parent, error.message))
    return runs, broken


def _checked(result: Any) -> Mapping[str, Any]:
    if not isinstance(result, dict):
        raise DataError(f"run.json holds {type(result).__name__}, expected an object")
    version = result.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"run.json has schema version {version}, and this kdbench reads {SCHEMA_VERSION}",
            hint="Open it with the kdbench that made it, or train it again.",
        )
    missing = [key for key in _KEYS if key not in result]
    if missing:
        raise DataError(f"run.json lacks {', '.join(missing)}")
    for key in ("conditions", "recipe"):
        if not isinstance(result[key], dict):
            raise DataError(f"run.json has {type(result[key]).__name__} as {key}, expected an object")
    if result["status"] == FINISHED and not isinstance(result.get("metrics"), dict):
        raise DataError("run.json says finished and has no metrics")
    return result
