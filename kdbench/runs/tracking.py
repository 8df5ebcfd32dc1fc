"""The mirror of a run in MLflow, which never costs the run: it has its own thread, and its first failure is its end."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from kdbench.runs.mirror_names import Names, leaves, numbers
from kdbench.text.redaction import redacted

OFF = "KDBENCH_TRACKING"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
NAMES = "names"
"""Tag with the true names of whatever MLflow would not take."""
# MLflow's own defaults keep an unreachable server waiting for many minutes.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_NOISY = ("mlflow", "alembic", "urllib3.connectionpool")
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_PARAMS_A_CALL = 100
_METRICS_A_CALL = 1000
_LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 6000, 8000, 36
_OPEN_SECONDS = 60
_FINISH_SECONDS = 30


def tracking_uri(store: Path) -> str:
    """Address of the MLflow store: `$MLFLOW_TRACKING_URI`, else a sqlite file in the folder of the runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(store).absolute() / DATABASE}"


def is_wanted() -> bool:
    """Whether runs are mirrored: unless `$KDBENCH_TRACKING` is `off`."""
    return os.environ.get(OFF, "").lower() != "off"


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
        with FileLock(store / f".{DATABASE}.lock", timeout=_OPEN_SECONDS):
            if path.is_file() and path.stat().st_size:
                return
            import_mlflow()
            from mlflow import MlflowClient

            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:
        warn(f"MLflow's store is not made: {_in_words(error)}")


class Tracker:
    """Mirrors one run: parameters and tags at the start, metrics per epoch, result and files at the end.

    MLflow is imported at the start; what it stores goes through a thread, so that training does not wait. The first
    failure is said in one line, and then nothing more is sent. Until it is started, a tracker does nothing.

    Args:
        warn: Takes that line, in the tracker's thread; by default Python's log.
    """

    def __init__(self, warn: Callable[[str], None] | None = None) -> None:
        self._warn = warn or logging.getLogger(__name__).warning
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failed = False
        self._client: Any = None
        self._run_id: str | None = None
        self._names = Names()

    def start(
        self,
        store: Path,
        *,
        experiment: str,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
        dataset: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> None:
        """Opens the mirror of a run; does nothing where `$KDBENCH_TRACKING` is `off`.

        Args:
            store: Folder of the runs, which holds the default store.
            experiment: MLflow experiment; made where it is missing.
            run_name: Name in MLflow's list.
            params: Nested settings; nested keys are joined by dots.
            tags: Further labels.
            dataset: What is trained on: `name`, `digest`, and whatever else tells it.
            run_id: The MLflow run to go on with, of a resumed run; a new one where it is gone.
        """
        # MLflow is not imported in the thread: that could meet another import of the main thread, or a fork, half-way.
        if not is_wanted() or not self._guarded(import_mlflow):
            return
        # A daemon, so that a store that does not answer keeps no process alive.
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()
        settings = {self._names.key(key, "."): str(value)[:_LONGEST_PARAM] for key, value in leaves(params)}
        labels = {key: str(value)[:_LONGEST_TAG] for key, value in (tags or {}).items()}
        self._run_id = run_id
        self._tasks.put(lambda: self._open(Path(store), experiment, run_name, settings, labels, dataset))

    @property
    def is_working(self) -> bool:
        """Whether something is mirrored: it was started, and nothing has failed."""
        return self._thread is not None and not self._failed

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run, to be given to `start` on a resume; None until the store has answered."""
        return self._run_id

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Logs the numbers of one line of `metrics.jsonl` under `<phase>/…` at the step of its epoch."""
        values = {key: value for key, value in record.items() if key not in {"phase", "epoch"}}
        self._log(numbers({record["phase"]: values}, self._names), step=record["epoch"])

    def finish(
        self,
        status: str,
        metrics: Mapping[str, Any] | None = None,
        artifacts: Sequence[Path] = (),
        *,
        model: Path | None = None,
    ) -> None:
        """Logs the result, copies files and closes the mirror; waits for the store, for half a minute at most.

        Args:
            status: `finished`, `failed` or `interrupted`.
            metrics: Nested results; numbers are taken, nested keys joined by slashes.
            artifacts: Files to copy into the store; missing ones are left out.
            model: The network's weights, a file of safetensors; copied last, since it is the largest.
        """
        if self._thread is None:
            return
        self._log(numbers(metrics or {}, self._names), step=0)
        files = [Path(path) for path in artifacts]
        self._tasks.put(lambda: self._close(_STATUS.get(status, "FAILED"), files))
        if model is not None:
            # Last, since it may be large and the wait has an end.
            self._tasks.put(lambda: self._copy([model]))
        self._tasks.put(None)
        self._thread.join(_FINISH_SECONDS)
        if self._thread.is_alive():
            self._warn(f"MLflow did not answer within {_FINISH_SECONDS} s; its copy of the run may lack the end")
        self._thread = None

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            # After a failure, tasks are taken and dropped, so that the queue does not grow.
            if not self._failed:
                self._guarded(task)

    def _guarded(self, task: Callable[[], None]) -> bool:
        try:
            task()
        except Exception as error:
            self._failed = True
            self._warn(f"MLflow is off for this run, which goes on: {_in_words(error)}")
        return not self._failed

    def _open(
        self,
        store: Path,
        experiment: str,
        run_name: str,
        params: dict[str, str],
        tags: dict[str, str],
        dataset: Mapping[str, Any] | None,
    ) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        uri = tracking_uri(store)
        store.mkdir(parents=True, exist_ok=True)
        # Two processes that make the tables of one sqlite file at once would break each other.
        with FileLock(store / f".{DATABASE}.lock", timeout=_OPEN_SECONDS):
            local = None if os.environ.get("MLFLOW_TRACKING_URI") else (store / ARTIFACTS).absolute().as_uri()
            if local is not None:
                _follow(store / DATABASE, local)
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            number = known.experiment_id if known else self._client.create_experiment(experiment, local)
        if self._run_id is not None:
            try:
                self._client.update_run(self._run_id, status="RUNNING")
                return
            # The run was deleted, or the store was made anew.
            except MlflowException:
                self._run_id = None
        run = self._client.create_run(number, run_name=run_name, tags=tags)
        self._run_id = run.info.run_id
        settings = [Param(key, value) for key, value in params.items()]
        for begin in range(0, len(settings), _PARAMS_A_CALL):
            self._client.log_batch(self._run_id, params=settings[begin : begin + _PARAMS_A_CALL])
        if dataset is not None:
            self._client.log_inputs(self._run_id, [_input(dataset)])

    def _log(self, values: Mapping[str, float], *, step: int) -> None:
        if self._thread is None or not values:
            return
        # The time of the epoch and not of the sending.
        now = int(time.time() * 1000)

        def send() -> None:
            from mlflow.entities import Metric

            metrics = [Metric(key, value, now, step) for key, value in values.items()]
            for begin in range(0, len(metrics), _METRICS_A_CALL):
                self._client.log_batch(self._run_id, metrics=metrics[begin : begin + _METRICS_A_CALL])

        self._tasks.put(send)

    def _close(self, status: str, artifacts: Sequence[Path]) -> None:
        if self._names.changed:
            changed = json.dumps(self._names.changed, ensure_ascii=False)
            self._client.set_tag(self._run_id, NAMES, changed[:_LONGEST_TAG])
        self._copy(artifacts)
        self._client.set_terminated(self._run_id, status)

    def _copy(self, artifacts: Sequence[Path]) -> None:
        for path in artifacts:
            if path.is_file():
                self._client.log_artifact(self._run_id, str(path))


def import_mlflow() -> None:
    """Imports MLflow with timeouts that suit a mirror, and quiet; what the user set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    importlib.import_module("mlflow")
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def _follow(database: Path, here: str) -> None:
    """Lets the artifacts of a store whose folder was moved or copied lie in the folder where it is now.

    MLflow writes their places into its database as absolute addresses, and has no call that changes them.

    Args:
        database: The store's sqlite file, which need not be there.
        here: Address of the folder of artifacts beside it.
    """
    if not database.is_file() or not database.stat().st_size:
        return
    with contextlib.closing(sqlite3.connect(database, timeout=_OPEN_SECONDS)) as connection, connection:
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


def _input(dataset: Mapping[str, Any]) -> Any:
    """A data set as an input of MLflow."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    rest = {key: value for key, value in dataset.items() if key not in {"name", "digest"}}
    profile = json.dumps(rest, ensure_ascii=False, default=str)
    entity = Dataset(str(dataset["name"]), str(dataset["digest"])[:_LONGEST_DIGEST], "kdbench", profile)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _in_words(error: Exception) -> str:
    """The first line of an error, which may repeat the store's address."""
    first = redacted(str(error).strip().partition("\n")[0])
    return f"{type(error).__name__}: {first[:200]}"
