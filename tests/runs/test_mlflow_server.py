"""Runs and a real `mlflow server` on PostgreSQL, with artifacts by HTTP, that goes away in the middle of a run."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import postgres
import psutil
import pytest
from helpers import tiny
from mlflow import MlflowClient

from kdbench.cli import main
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json, read_jsonl

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
START_SECONDS = 120
FILES = {"run.json", "predictions.parquet", "metrics.jsonl", "learning_curves.png", "confusion_matrix.png"}


@dataclass
class Mlflow:
    """An MLflow server and its database."""

    folder: Path
    database: postgres.Server
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        store = self.database.address().replace("postgresql:", "postgresql+psycopg:")
        words = [
            "--backend-store-uri",
            store,
            "--serve-artifacts",
            "--artifacts-destination",
            self.folder / "artifacts",
        ]
        words += ["--host", "127.0.0.1", "--port", self.port, "--workers", "1"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *map(str, words)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # The workers that it would start for jobs of its own take most of its time.
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            parent = psutil.Process(self.process.pid)
            for each in [*parent.children(recursive=True), parent]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with postgres.serving() as database:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = int(taken.getsockname()[1])
        running = Mlflow(tmp_path_factory.mktemp("mlflow"), database, port)
        try:
            running.start()
            yield running
        finally:
            running.stop()


class AtEpochs(Reporter):
    """Does something after some epochs, and keeps the warnings."""

    def __init__(self, what: dict[int, Callable[[], None]]) -> None:
        self.what = what
        self.warnings: list[str] = []

    def end_epoch(self, record: dict[str, Any]) -> None:
        self.what.get(record["epoch"], lambda: None)()

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(autouse=True)
def _tracked(server: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDBENCH_TRACKING")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Runs a command in this process: its exit code, and what it printed."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


def check_whole(server: Mlflow, run_id: str, folder: Path, to: Path) -> None:
    """MLflow has of a run what its folder has, and once."""
    client = MlflowClient(tracking_uri=server.address)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    told, result = run.data, read_json(folder / "run.json")
    assert told.metrics["accuracy"] == result["metrics"]["accuracy"]
    assert told.params["student.train.epochs"] == str(result["recipe"]["student"]["train"]["epochs"])
    assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["motionsim"]
    history = client.get_metric_history(run_id, "student/loss")
    records = read_jsonl(folder / "metrics.jsonl")
    assert [(each.step, each.value) for each in sorted(history, key=lambda each: each.step)] == [
        (record["epoch"], record["loss"]) for record in records
    ]
    names = {each.path for each in client.list_artifacts(run_id)}
    assert names == FILES | {"student.safetensors"}
    for name in names:
        got = Path(client.download_artifacts(run_id, name, str(to)))
        assert got.read_bytes() == (folder / name).read_bytes()


def test_a_server_that_restarts_in_the_middle_of_a_run_gets_all_of_it(server: Mlflow, tmp_path: Path) -> None:
    def away() -> None:
        server.stop()
        server.database.stop()

    def back() -> None:
        server.database.start()
        server.start()

    told = AtEpochs({2: away, 4: back})
    result = tiny("student_only", tmp_path / "runs", "student.train.epochs=6", reporter=told)
    said = [line for line in told.warnings if "MLflow" in line]
    assert [line.partition(":")[0] for line in said] == [
        "MLflow does not answer, and is tried again while the run goes on",
        "MLflow answers again, and gets what it missed",
    ]
    (found,) = MlflowClient(tracking_uri=server.address).search_runs(
        ["1"], filter_string=f"tags.folder = '{result.folder.name}'"
    )
    (tmp_path / "got").mkdir()
    check_whole(server, found.info.run_id, result.folder, tmp_path / "got")


def test_what_a_server_missed_is_named_and_can_be_sent_later(
    server: Mlflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The server stays, and answers with errors: its database is away.
    told = AtEpochs({2: server.database.stop})
    try:
        began = time.monotonic()
        result = tiny("student_only", tmp_path / "runs", "student.train.epochs=4", seed=1, reporter=told)
        assert time.monotonic() - began < 60
    finally:
        server.database.start()
    last = [line for line in told.warnings if "MLflow" in line][-1]
    text, _, again = last.partition("; send it later: ")
    assert text == "MLflow lacks a part of this run, which its folder holds"
    run_ids = set()
    for _ in range(2):
        code, out, err = command(capsys, *shlex.split(again)[1:])
        assert code == 0, err
        run_ids.add(out.split("is run ")[1].split()[0])
    assert len(run_ids) == 1
    (tmp_path / "got").mkdir()
    check_whole(server, run_ids.pop(), result.folder, tmp_path / "got")


def test_sending_to_a_server_that_is_not_there_fails_with_the_next_step(
    server: Mlflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KDBENCH_TRACKING", "off")
    result = tiny("student_only", tmp_path / "runs", "student.train.epochs=1")
    monkeypatch.delenv("KDBENCH_TRACKING")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://me:wordy@127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    code, out, err = command(capsys, "runs", "send", str(result.folder))
    assert code == 1
    assert "1 run of 1 could not be sent to http://***@127.0.0.1" in " ".join(err.split())
    assert "Start the server there" in err
    assert "wordy" not in out + err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    # Of a run that was never mirrored, all is sent.
    code, out, err = command(capsys, "runs", "send", str(result.folder))
    assert code == 0, err
    (tmp_path / "got").mkdir()
    check_whole(server, out.split("is run ")[1].split()[0], result.folder, tmp_path / "got")
