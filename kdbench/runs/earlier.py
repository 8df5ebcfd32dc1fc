"""What earlier processes left of a run: its beginning, and runs of the same recipe under other versions."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import DataError, KdbenchError
from kdbench.runs import libraries
from kdbench.runs.context import RunContext
from kdbench.runs.schema import FINISHED, checked
from kdbench.runs.store import RESULT, stored_run
from kdbench.util.records import read_json


@dataclass(frozen=True)
class Before:
    """What a run tells the process that goes on with it.

    Attributes:
        started: When it was begun.
        resumed: How often it will have been gone on with.
        run_id: Its run in MLflow.
        name: What the user calls it.
    """

    started: str | None = None
    resumed: int = 0
    run_id: str | None = None
    name: str | None = None


def before(path: Path) -> Before:
    """What the `run.json` of an earlier process tells; nothing where there is none that can be read."""
    try:
        record = checked(read_json(path))
    except DataError:
        return Before()
    name = record.get("name")
    started, resumed, tracking = record.get("started"), record.get("resumed"), record.get("tracking")
    run_id = tracking.get("run_id") if isinstance(tracking, dict) else None
    return Before(
        started if isinstance(started, str) else None,
        (resumed if isinstance(resumed, int) else 0) + 1,
        run_id if isinstance(run_id, str) else None,
        name if isinstance(name, str) else None,
    )


def tell_other_versions(context: RunContext, folder: Path) -> None:
    """Names a run of the same recipe that other versions of the libraries have made, or begun."""
    if (folder / RESULT).is_file():
        return
    # Other versions make another hash, which is the end of the name.
    for path in sorted(folder.parent.glob(f"{glob.escape(folder.name.rpartition('-')[0])}-*/{RESULT}")):
        try:
            other = stored_run(path.parent)
        except KdbenchError:
            continue
        then = other.conditions.get("libraries")
        changed = libraries.differences(then, context.run_spec.libraries()) if isinstance(then, dict) else []
        if changed and other.result.get("identity") == context.run_spec.identity:
            done = "trained" if other.status == FINISHED else "begun and not finished"
            context.reporter.message(
                f"{other.folder.name} was {done} with {', '.join(changed)}: this run is trained anew in its own folder"
            )
