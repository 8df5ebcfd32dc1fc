"""How a run stands, from what lies in its folder: the run's own `run.json`, and how the last attempt ended."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.runs.locks import is_locked
from kdbench.runs.schema import checked
from kdbench.util.records import read_json, write_json

DONE, FAILED, OOM, TIMEOUT, INTERRUPTED, RUNNING, TO_DO = (
    "done",
    "failed",
    "oom",
    "timeout",
    "interrupted",
    "running",
    "to do",
)
ORDER = (DONE, TO_DO, RUNNING, INTERRUPTED, FAILED, OOM, TIMEOUT)
LOGS = "logs"
"""Folder of the runs' logs, below that of all runs."""
ATTEMPT = "attempt.json"
"""How the last attempt of a grid ended, beside the `run.json` of a run that is not finished."""
_OF_RUN = {"finished": DONE, "failed": FAILED, "interrupted": INTERRUPTED, "running": INTERRUPTED}


@dataclass(frozen=True)
class State:
    """How a run stands.

    Attributes:
        status: `done`, `failed`, `oom`, `timeout`, `interrupted`, `running` (in another process), or `to do`.
        message: Why it is not done; empty where there is nothing to say.
        accuracy: The accuracy of a run that is done.
    """

    status: str
    message: str = ""
    accuracy: float | None = None


def read_state(folder: Path) -> State:
    """How the run of a run's folder stands; a folder that is not there is to do."""
    if not folder.is_dir():
        return State(TO_DO)
    run, attempt = folder / "run.json", folder / ATTEMPT
    state = State(TO_DO)
    if run.is_file():
        state = _of_run(run)
        if state.status == DONE:
            return state
    if is_locked(folder):
        return State(RUNNING, "another process makes it")
    if attempt.is_file() and (not run.is_file() or attempt.stat().st_mtime_ns >= run.stat().st_mtime_ns):
        # A run that was gone on with by hand since then knows better.
        with contextlib.suppress(KdbenchError, KeyError, TypeError):
            record = read_json(attempt)
            return State(str(record["status"]), str(record["message"]))
    return state


def _of_run(path: Path) -> State:
    try:
        result = checked(read_json(path))
    except KdbenchError as error:
        return State(FAILED, error.message if str(path) in error.message else f"{path}: {error.message}")
    status = _OF_RUN[result["status"]]
    accuracy = float(result["metrics"]["accuracy"]) if status == DONE else None
    killed = "it was killed; it goes on from its last epoch" if result["status"] == "running" else ""
    return State(status, str(result.get("message") or killed), accuracy)


def note_attempt(folder: Path, state: State, *, code: int | None, seconds: float, log: Path) -> None:
    """Writes down how an attempt ended; a run that is done needs no note. A disk that is full costs the note alone."""
    with contextlib.suppress(KdbenchError, OSError):
        if state.status == DONE:
            (folder / ATTEMPT).unlink(missing_ok=True)
            return
        note = {"status": state.status, "message": state.message, "exit": code, "seconds": seconds, "log": log.name}
        write_json(folder / ATTEMPT, note)


def set_broken_aside(folder: Path) -> None:
    """Renames a `run.json` that cannot be read, so that the run can go on from its checkpoint."""
    path = folder / "run.json"
    if not path.is_file():
        return
    try:
        record = read_json(path)
    except KdbenchError:
        record = None
    if not isinstance(record, dict) or "status" not in record:
        path.replace(folder / "run.json.broken")
