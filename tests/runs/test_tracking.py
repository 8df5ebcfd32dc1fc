"""The mirror in MLflow holds what the run did, and its failures cost nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

from kdbench.runs.mirror_store import tracking_uri
from kdbench.runs.tracking import Tracker

RECORD = {
    "phase": "student",
    "epoch": 2,
    "loss": 0.5,
    "terms": {"ce": 0.25, "torchdistill:x": 1},
    "validation": None,
    "accuracy": 0.75,
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "KDBENCH_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    # What the tracker sets for the process is taken back after the test.
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs whose store the first test makes; making its tables takes seconds."""
    return tmp_path_factory.mktemp("runs")


def _start(store: Path, warnings: list[str], **changes: Any) -> Tracker:
    tracker = Tracker(warnings.append)
    settings: dict[str, Any] = {
        "experiment": "utd_mhad/cross_subject/small",
        "run_name": "sgm_ft seed 0",
        "params": {"student": {"train": {"lr": 0.01}}, "losses": {f"term {i} (x)": i for i in range(120)}},
        "tags": {"method": "sgm_ft"},
    }
    tracker.start(store, **settings | changes)
    return tracker


def _client(store: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri(store))


@pytest.mark.slow
def test_a_run_is_mirrored_with_its_settings_curves_result_and_files(store: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    tracker = _start(store, warnings)
    tracker.epoch({**RECORD, "epoch": 1, "accuracy": 0.5})
    tracker.epoch(RECORD)
    (tmp_path / "curves.png").write_bytes(b"png")
    metrics = {"accuracy": 0.9, "per_class_recall": {"draw circle (clockwise)": 0.5, "bow": None}, "n": 430}
    tracker.finish("finished", metrics, [tmp_path / "curves.png", tmp_path / "missing.png"])
    assert warnings == []
    client = _client(store)
    run = client.get_run(str(tracker.run_id))
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "sgm_ft seed 0"
    assert run.data.tags["method"] == "sgm_ft"
    assert run.data.params["student.train.lr"] == "0.01"
    assert len(run.data.params) == 121
    assert run.data.metrics["accuracy"] == 0.9
    assert run.data.metrics["per_class_recall/draw circle - clockwise"] == 0.5
    told = json.loads(run.data.tags["names"])
    assert told["draw circle - clockwise"] == "draw circle (clockwise)"
    assert told["torchdistill_x"] == "torchdistill:x"
    assert "per_class_recall/bow" not in run.data.metrics
    assert run.data.metrics["student/terms/torchdistill_x"] == 1
    history = client.get_metric_history(str(tracker.run_id), "student/accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.75)]
    assert [item.path for item in client.list_artifacts(str(tracker.run_id))] == ["curves.png"]


def test_a_run_has_its_data_set_and_its_model(store: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    dataset = {"name": "utd_mhad", "digest": "f" * 64, "protocol": "cross_subject", "sensors": ["accelerometer"]}
    tracker = _start(store, warnings, dataset=dataset)
    save_file({"weight": torch.ones(2, 3)}, tmp_path / "student.safetensors")
    tracker.finish(
        "finished", {"accuracy": 0.9, "cost": {"flops": 12}, "gain": None}, model=tmp_path / "student.safetensors"
    )
    assert warnings == []
    client = _client(store)
    run = client.get_run(str(tracker.run_id))
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("utd_mhad", "f" * 36)
    assert json.loads(given.dataset.source) == {"protocol": "cross_subject", "sensors": ["accelerometer"]}
    assert run.data.metrics["cost/flops"] == 12
    path = client.download_artifacts(str(tracker.run_id), "student.safetensors", str(tmp_path))
    assert torch.equal(load_file(path)["weight"], torch.ones(2, 3))


MOVED = """
import sys
from pathlib import Path
from kdbench.runs.tracking import Tracker
store, late, *runs = sys.argv[1:]
for run in (*runs, None):
    tracker = Tracker(sys.exit)
    tracker.start(Path(store), experiment="utd_mhad/cross_subject/small", run_name="late", params={}, run_id=run)
    tracker.finish("finished", {}, [Path(late)])
    print(tracker.run_id)
"""


@pytest.mark.slow
def test_artifacts_follow_a_folder_that_was_moved(store: Path, tmp_path: Path) -> None:
    first = _start(store, [])
    (tmp_path / "early.txt").write_text("early")
    (tmp_path / "late.txt").write_text("late")
    first.finish("interrupted", {}, [tmp_path / "early.txt"])
    moved = tmp_path / "elsewhere" / "runs, with a space"
    shutil.copytree(store, moved)
    held = store.with_name("held")
    store.rename(held)
    try:
        # MLflow remembers places within a process, which no move outlives.
        command = [sys.executable, "-c", MOVED, str(moved), str(tmp_path / "late.txt"), str(first.run_id)]
        again, new = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert again == first.run_id
        assert not store.exists()
        client = _client(moved)
        assert all(client.get_run(run).info.artifact_uri.startswith(moved.as_uri()) for run in (again, new))
        found = {run: [item.path for item in client.list_artifacts(run)] for run in (again, new)}
        assert found == {again: ["early.txt", "late.txt"], new: ["late.txt"]}
        assert len(list((moved / "mlartifacts").rglob("late.txt"))) == 2
    finally:
        held.rename(store)


def test_a_resumed_run_goes_on_in_the_same_mirror(store: Path) -> None:
    first = _start(store, [])
    first.epoch({**RECORD, "epoch": 1})
    first.finish("interrupted")
    client = _client(store)
    assert client.get_run(str(first.run_id)).info.status == "KILLED"
    second = _start(store, [], run_id=first.run_id)
    second.epoch(RECORD)
    second.finish("finished")
    assert second.run_id == first.run_id
    run = client.get_run(str(first.run_id))
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "student/loss")) == 2


def test_a_slow_store_is_asked_less_often_and_misses_no_epoch(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = MlflowClient.log_batch, []

    def slow(self: MlflowClient, *arguments: Any, metrics: Any = (), **options: Any) -> Any:
        time.sleep(0.2 if metrics else 0)
        calls.extend([len(metrics)] if metrics else [])
        return original(self, *arguments, metrics=metrics, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    warnings: list[str] = []
    tracker = _start(store, warnings)
    for epoch in range(1, 41):
        tracker.epoch({**RECORD, "epoch": epoch})
    assert tracker.finish("finished")
    assert warnings == []
    assert len(calls) < 10
    history = _client(store).get_metric_history(str(tracker.run_id), "student/loss")
    assert sorted(point.step for point in history) == list(range(1, 41))


def test_a_mirror_that_is_gone_is_begun_anew(store: Path) -> None:
    warnings: list[str] = []
    tracker = _start(store, warnings, run_id="0" * 32)
    tracker.finish("failed")
    assert warnings == []
    assert tracker.run_id != "0" * 32
    assert _client(store).get_run(str(tracker.run_id)).info.status == "FAILED"


def test_an_unreachable_server_is_said_once_and_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    warnings: list[str] = []
    tracker = _start(tmp_path, warnings)
    started = time.perf_counter()
    for _ in range(50):
        tracker.epoch(RECORD)
    assert time.perf_counter() - started < 0.5
    tracker.finish("finished", {"accuracy": 1.0})
    assert time.perf_counter() - started < 20
    # The first is left out where the run is over before the server has failed once.
    *away, lacks = warnings
    assert all(line.startswith("MLflow does not answer, and is tried again while") for line in away)
    assert lacks.startswith("MLflow lacks a part of this run, which its folder holds")
    assert "Max retries exceeded" in "".join(warnings)


@pytest.mark.parametrize("password", ["wordy", "pa/ss@wordy", "pa%40wordy", "wordy?x"])
def test_a_failure_is_told_without_the_password_of_the_address(
    password: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{password}@127.0.0.1:9")
    warnings: list[str] = []
    _start(tmp_path, warnings).finish("finished")
    assert warnings[-1].startswith("MLflow lacks a part of this run")
    assert "wordy" not in "".join(warnings)


def test_a_server_that_takes_calls_and_never_answers_costs_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        warnings: list[str] = []
        tracker = _start(tmp_path, warnings)
        started = time.perf_counter()
        tracker.epoch(RECORD)
        assert time.perf_counter() - started < 0.5
        tracker.finish("finished")
        assert time.perf_counter() - started < 25
    assert warnings[-1].startswith("MLflow lacks a part of this run")


def test_a_broken_store_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database, whatever its name says" * 100)
    warnings: list[str] = []
    tracker = _start(tmp_path, warnings)
    tracker.epoch(RECORD)
    tracker.finish("finished", {"accuracy": 1.0})
    assert len(warnings) == 1
    assert "\n" not in warnings[0]
    assert tracker.run_id is None


def test_it_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_TRACKING", "off")
    threads = threading.active_count()
    tracker = _start(tmp_path, [])
    tracker.epoch(RECORD)
    tracker.finish("finished")
    assert threading.active_count() == threads
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_was_never_started_does_nothing() -> None:
    tracker = Tracker()
    tracker.epoch(RECORD)
    tracker.finish("failed")
    assert tracker.run_id is None


def test_what_the_user_set_for_mlflow_stays(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    _start(store, []).finish("finished")
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"


def test_random_states_are_left_alone(store: Path) -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    tracker = _start(store, [])
    tracker.epoch(RECORD)
    tracker.finish("finished")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


SCRIPT = """
import sys
from pathlib import Path
from kdbench.runs.tracking import Tracker
tracker = Tracker(lambda line: sys.exit(line))
tracker.start(Path(sys.argv[1]), experiment="e", run_name=sys.argv[2], params={"a": 1})
for epoch in (1, 2, 3):
    tracker.epoch({"phase": "student", "epoch": epoch, "loss": 1.0})
tracker.finish("finished")
"""


@pytest.mark.slow
def test_processes_that_open_a_fresh_store_at_once_all_succeed_and_keep_quiet(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    started = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(3)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert said == ["", "", ""]
    client = _client(tmp_path)
    experiment = client.get_experiment_by_name("e")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["0", "1", "2"]
    assert all(run.info.status == "FINISHED" for run in runs)
