"""Where runs are mirrored in MLflow: the store's address and making, and one whose folder was moved."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from kdbench.text.redaction import redacted

OFF = "KDBENCH_TRACKING"
ADDRESS = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
OPEN_SECONDS = 60
# MLflow's own defaults keep an unreachable server waiting for many minutes.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_NOISY = ("mlflow", "alembic", "urllib3.connectionpool")
_SERVERS = ("http:", "https:", "postgresql", "mysql", "mssql")
_TRY_AGAIN = (408, 425, 429)


def tracking_uri(store: Path) -> str:
    """Address of the MLflow store: `$MLFLOW_TRACKING_URI`, else a sqlite file in the folder of the runs."""
    return os.environ.get(ADDRESS) or f"sqlite:///{Path(store).absolute() / DATABASE}"


def is_wanted() -> bool:
    """Whether runs are mirrored: unless `$KDBENCH_TRACKING` is `off`."""
    return os.environ.get(OFF, "").lower() != "off"


def import_mlflow() -> None:
    """Imports MLflow with timeouts that suit a mirror, and quiet; what the user set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    importlib.import_module("mlflow")
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def create_store(store: Path, warn: Callable[[str], None]) -> None:
    """Makes the tables of a sqlite store that is not there yet, before several processes open it.

    Args:
        store: Folder of the runs.
        warn: Takes a line on a store that cannot be made, which costs no run.
    """
    uri = tracking_uri(store)
    path = Path(uri.removeprefix("sqlite:///"))
    if not is_wanted() or not uri.startswith("sqlite:///"):
        return
    try:
        store.mkdir(parents=True, exist_ok=True)
        with FileLock(store / f".{DATABASE}.lock", timeout=OPEN_SECONDS):
            if path.is_file() and path.stat().st_size:
                return
            import_mlflow()
            from mlflow import MlflowClient

            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:
        warn(f"MLflow's store is not made: {in_words(error)}")


def is_away(error: Exception, store: Path) -> bool:
    """Whether a call of MLflow may succeed later: its server does not answer, or not well; what it refuses, it refuses.

    Args:
        error: Of the call.
        store: Folder of the runs.
    """
    if not tracking_uri(store).startswith(_SERVERS):
        return False
    if told := getattr(error, "get_http_status_code", None):
        status = told()
    elif isinstance(error, OSError):
        # Of requests, whose errors are of that kind; without a response where nobody answered.
        status = getattr(getattr(error, "response", None), "status_code", None)
    else:
        return False
    return status is None or status >= 500 or status in _TRY_AGAIN


def in_words(error: Exception) -> str:
    """The first line of an error, which may repeat the store's address."""
    first = redacted(str(error).strip().partition("\n")[0])
    return f"{type(error).__name__}: {first[:200]}"


def follow(database: Path, here: str) -> None:
    """Lets the artifacts of a store whose folder was moved or copied lie in the folder where it is now.

    MLflow writes their places into its database as absolute addresses, and has no call that changes them.

    Args:
        database: The store's sqlite file, which need not be there.
        here: Address of the folder of artifacts beside it.
    """
    if not database.is_file() or not database.stat().st_size:
        return
    with contextlib.closing(sqlite3.connect(database, timeout=OPEN_SECONDS)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        places = {place for (place,) in connection.execute("SELECT artifact_location FROM experiments") if place}
        for place in places:
            if place == here or not place.startswith("file:") or not place.endswith(f"/{ARTIFACTS}"):
                continue
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (here, place)
            )
            connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?",
                (here, len(place) + 1, len(place) + 1, f"{place}/"),
            )
