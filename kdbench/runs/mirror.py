"""What MLflow is told of a run, from its `run.json`; and the sending of a run whose mirror has gaps."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.recipes.pairs import pair_of, title_of
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import stored_run
from kdbench.runs.tracking import KEY, Tracker
from kdbench.runs.training import records_of

_FILES = ("run.json", "predictions.parquet", "metrics.jsonl", "learning_curves.png", "confusion_matrix.png")
_SEND_SECONDS = 600.0


def described(
    result: Mapping[str, Any],
    folder: str,
    *,
    sensors: Iterable[str] | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The arguments of `Tracker.start` for a run.

    Args:
        result: Its `run.json`.
        folder: Name of its folder.
        sensors: What its data set has of them, where it is open.
        classes: Names of its classes; by default those of its metrics.
    """
    names = ("method", "dataset", "protocol", "preset")
    conditions, metrics = result["conditions"], result.get("metrics") or {}
    known = classes if classes is not None else list(metrics.get("per_class_recall") or ())
    of_search = (result.get("tracking") or {}).get("tags") or {}
    return {
        "experiment": "/".join(str(result[name]) for name in names[1:]),
        "run_name": f"{result.get('name') or title_of(*pair_of(result))} seed {result['seed']}",
        "params": result["recipe"] | {"seed": result["seed"]},
        "tags": {
            **{name: result[name] for name in names},
            **({"classes": json.dumps(known, ensure_ascii=False)} if known else {}),
            "folder": folder,
            KEY: hashlib.sha256(f"{folder} {result['started']}".encode()).hexdigest()[:16],
            **of_search,
        },
        "dataset": {
            "name": result["dataset"],
            "digest": conditions["fingerprint"],
            "version": conditions["version"],
            "protocol": result["protocol"],
            "view": conditions["view"],
            **({"sensors": list(sensors)} if sensors is not None else {}),
            "trials": result["trials"],
        },
        "run_id": (result.get("tracking") or {}).get("run_id"),
    }


def outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a finished run that MLflow shows beside each other."""
    return {**result["metrics"], **{name: result.get(name) for name in ("cost", "gain", "teacher")}}


def files_of(folder: Path) -> list[Path]:
    """The files of a run that MLflow gets, the weights apart."""
    return [path for name in _FILES if (path := folder / name).is_file()]


def sending(folder: Path) -> str:
    """The command that sends a run."""
    return shlex.join(["kdbench", "runs", "send", str(folder)])


def send(folder: Path, root: Path, tell: Callable[[str], None]) -> str | None:
    """Sends what MLflow lacks of a run, as its folder has it; what is there already stays.

    Args:
        folder: The run's.
        root: Folder of all runs, which holds the default store.
        tell: Takes lines on what goes wrong.

    Returns:
        The id of the MLflow run; None where MLflow has not taken all of it.

    Raises:
        DataError: The folder holds no run that can be read.
    """
    run = stored_run(folder)
    tracker = Tracker(tell, anew=True)
    tracker.start(root, **described(run.result, folder.name))
    for record in records_of(folder):
        tracker.epoch(record)
    finished = run.status == FINISHED
    complete = tracker.finish(
        # One that was killed says nothing of its end.
        run.status if run.status in (FINISHED, "failed") else "interrupted",
        outcome(run.result) if finished else {},
        files_of(folder),
        model=folder / "student.safetensors" if finished else None,
        seconds=_SEND_SECONDS,
    )
    return tracker.run_id if complete else None
