"""The mirror of a run in MLflow, which never costs the run: it has its own thread, and waits there for its server."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from kdbench.runs.mirror_names import Names, leaves, numbers
from kdbench.runs.mirror_store import (
    ADDRESS,
    ARTIFACTS,
    DATABASE,
    OPEN_SECONDS,
    follow,
    import_mlflow,
    in_words,
    is_away,
    is_wanted,
    tracking_uri,
)

NAMES = "names"
"""Tag with the true names of whatever MLflow would not take."""
KEY = "key"
"""Tag by which a run is found again where MLflow's answer to its making got lost."""
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_PARAMS_A_CALL = 100
_METRICS_A_CALL = 1000
_LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 6000, 8000, 36
_FINISH_SECONDS = 30
_AWAY_SECONDS = 15
"""How long the end of a run waits for a server that does not answer by then."""
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 10.0


class Tracker:
    """Mirrors one run: parameters and tags at the start, metrics per epoch, result and files at the end.

    MLflow is imported at the start; what it stores goes through a thread, so that training does not wait. While a
    server does not answer, what it is to store is kept and tried again; what it refuses ends the mirror. Both are said
    in one line. Until it is started, a tracker does nothing.

    Args:
        warn: Takes lines on what goes wrong, in the tracker's thread; by default Python's log.
        again: The command that sends what MLflow lacks in the end; None where there is none.
        anew: Whether what was mirrored before is mirrored once more: epochs that MLflow has already are left out.
    """

    def __init__(
        self, warn: Callable[[str], None] | None = None, *, again: str | None = None, anew: bool = False
    ) -> None:
        self._warn = warn or logging.getLogger(__name__).warning
        self._again = f"; send it later: {again}" if again else ""
        self._anew = anew
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._store = Path()
        self._failed = False
        self._is_away = False
        self._answered = False
        self._ends = threading.Event()
        self._deadline = float("inf")
        self._client: Any = None
        self._run_id: str | None = None
        self._tried = False
        self._names = Names()
        self._numbers: list[tuple[Mapping[str, float], int, int]] = []

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
            tags: Further labels; with one of them called `key`, no run is made where there is one of the same key.
            dataset: What is trained on: `name`, `digest`, and whatever else tells it.
            run_id: The MLflow run to go on with, of a resumed run; a new one where it is gone.
        """
        self._store = Path(store)
        # MLflow is not imported in the thread: that could meet another import of the main thread, or a fork, half-way.
        if not is_wanted() or not self._guarded(import_mlflow):
            return
        # A daemon, so that a store that does not answer keeps no process alive.
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()
        settings = {self._names.key(key, "."): str(value)[:_LONGEST_PARAM] for key, value in leaves(params)}
        labels = {key: str(value)[:_LONGEST_TAG] for key, value in (tags or {}).items()}
        self._run_id = run_id
        resumes = run_id is not None and not self._anew
        self._tasks.put(lambda: self._open(experiment, run_name, labels))
        self._tasks.put(lambda: self._describe(settings, dataset, unless=run_id if resumes else None))

    @property
    def is_working(self) -> bool:
        """Whether something is mirrored: it was started, and nothing has failed, nor is its server away."""
        return self._thread is not None and not self._failed and not self._is_away

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
        seconds: float = _FINISH_SECONDS,
    ) -> bool:
        """Logs the result, copies files and closes the mirror; waits for the store, for half a minute at most.

        Args:
            status: `finished`, `failed` or `interrupted`.
            metrics: Nested results; numbers are taken, nested keys joined by slashes.
            artifacts: Files to copy into the store; missing ones are left out.
            model: The network's weights, a file of safetensors; copied last, since it is the largest.
            seconds: How long it waits.

        Returns:
            Whether MLflow has all of it; False also where nothing was mirrored.
        """
        if self._thread is None:
            return False
        self._log(numbers(metrics or {}, self._names), step=0)
        files = [Path(path) for path in artifacts]
        self._tasks.put(lambda: self._close(_STATUS.get(status, "FAILED"), files))
        if model is not None:
            # Last, since it may be large and the wait has an end.
            self._tasks.put(lambda: self._copy([model]))
        self._tasks.put(None)
        # One that has not answered all the time will hardly begin now.
        self._deadline = time.monotonic() + (min(seconds, _AWAY_SECONDS) if self._answered else 0)
        self._ends.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._failed = True
            self._warn(f"MLflow did not take all of this run within {seconds:.0f} s{self._again}")
        self._thread = None
        return not self._failed

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            # After a failure, tasks are taken and dropped, so that the queue does not grow.
            if not self._failed:
                self._guarded(task)

    def _guarded(self, task: Callable[[], None]) -> bool:
        """Does a task, again and again while its server is away; False where that has failed."""
        wait = _FIRST_WAIT_SECONDS
        while not self._failed:
            try:
                task()
            except Exception as error:
                self._take(error)
            else:
                self._answered = self._client is not None
                if self._is_away:
                    self._is_away = False
                    self._warn("MLflow answers again, and gets what it missed")
                return True
            # The end of the run is worth one more try at once.
            if not self._failed and self._ends.wait(wait):
                time.sleep(min(wait, 1.0))
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        return False

    def _take(self, error: Exception) -> None:
        """Says what an error means for the mirror, once."""
        if not is_away(error, self._store):
            self._failed = True
            self._warn(f"MLflow is off for this run, which goes on: {in_words(error)}{self._again}")
        elif time.monotonic() >= self._deadline:
            self._failed = True
            why = "" if self._is_away else f": {in_words(error)}"
            self._warn(f"MLflow lacks a part of this run, which its folder holds{why}{self._again}")
        elif not self._is_away:
            self._is_away = True
            self._warn(f"MLflow does not answer, and is tried again while the run goes on: {in_words(error)}")

    def _open(self, experiment: str, run_name: str, tags: dict[str, str]) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        store = self._store
        store.mkdir(parents=True, exist_ok=True)
        # Two processes that make the tables of one sqlite file at once would break each other.
        with FileLock(store / f".{DATABASE}.lock", timeout=OPEN_SECONDS):
            local = None if os.environ.get(ADDRESS) else (store / ARTIFACTS).absolute().as_uri()
            if local is not None:
                follow(store / DATABASE, local)
            self._client = MlflowClient(tracking_uri=tracking_uri(store))
            known = self._client.get_experiment_by_name(experiment)
            number = known.experiment_id if known else self._client.create_experiment(experiment, local)
        if self._run_id is not None:
            try:
                self._client.update_run(self._run_id, status="RUNNING")
                return
            # The run was deleted, or the store was made anew.
            except MlflowException as error:
                if is_away(error, store):
                    raise
                self._run_id = None
        # The answer to an earlier try may have been lost.
        if KEY in tags and (self._tried or self._anew):
            asked = f"tags.`{KEY}` = '{tags[KEY]}'"
            for run in self._client.search_runs([number], filter_string=asked, max_results=1):
                self._run_id = run.info.run_id
                return
        self._tried = True
        self._run_id = self._client.create_run(number, run_name=run_name, tags=tags).info.run_id

    def _describe(self, params: dict[str, str], dataset: Mapping[str, Any] | None, *, unless: str | None) -> None:
        """Logs settings and data, unless the mirror goes on with this run, which has them."""
        from mlflow.entities import Param

        if unless is not None and self._run_id == unless:
            return
        settings = [Param(key, value) for key, value in params.items()]
        for begin in range(0, len(settings), _PARAMS_A_CALL):
            self._client.log_batch(self._run_id, params=settings[begin : begin + _PARAMS_A_CALL])
        if dataset is not None and not (self._anew and self._client.get_run(self._run_id).inputs.dataset_inputs):
            self._client.log_inputs(self._run_id, [_input(dataset)])

    def _log(self, values: Mapping[str, float], *, step: int) -> None:
        if self._thread is None or not values:
            return
        # The time of the epoch and not of the sending.
        self._numbers.append((values, step, int(time.time() * 1000)))
        self._tasks.put(self._send_numbers)

    def _send_numbers(self) -> None:
        """Sends all numbers that have come by now: the busier a store that runs share, the less often it is asked."""
        from mlflow.entities import Metric

        waiting = list(self._numbers)
        metrics = [
            Metric(key, value, moment, step)
            for values, step, moment in waiting
            if not (self._anew and self._has(next(iter(values)), step))
            for key, value in values.items()
        ]
        for begin in range(0, len(metrics), _METRICS_A_CALL):
            self._client.log_batch(self._run_id, metrics=metrics[begin : begin + _METRICS_A_CALL])
        del self._numbers[: len(waiting)]

    def _has(self, key: str, step: int) -> bool:
        return any(point.step == step for point in self._client.get_metric_history(self._run_id, key))

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


def _input(dataset: Mapping[str, Any]) -> Any:
    """A data set as an input of MLflow."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    rest = {key: value for key, value in dataset.items() if key not in {"name", "digest"}}
    profile = json.dumps(rest, ensure_ascii=False, default=str)
    entity = Dataset(str(dataset["name"]), str(dataset["digest"])[:_LONGEST_DIGEST], "kdbench", profile)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
