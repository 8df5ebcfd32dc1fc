"""Searches on a real PostgreSQL: workers that are killed, a server that is stopped and started, errors that help."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import postgres
import pytest
from forked import alive
from helpers import WORLD

import kdbench
from kdbench.errors import Interrupted, RunFailed
from kdbench.launch import BUILTIN
from kdbench.tuning import studies
from kdbench.tuning.database import storage_url
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.serving() as running:
        yield running


class Meddling(Reporter):
    """Keeps the lines, and does something when one of them comes, once."""

    def __init__(self, what: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.what = what

    def message(self, text: str) -> None:
        self.lines.append(text)
        for begin in [begin for begin in self.what if text.startswith(begin)]:
            self.what.pop(begin)()

    def warn(self, text: str) -> None:
        self.message(f"warning: {text}")


def searched(out: Path, storage: str, **arguments: Any) -> Any:
    given: dict[str, Any] = {"trials": 2, "space": ["student.train.lr=0.001..0.01:log"], "final": False}
    given |= {"overrides": WORLD, "preset": "smoke", "device": "cpu", "out": out, "heartbeat_seconds": 1} | arguments
    return kdbench.search("student_only", "motionsim", storage=storage, **given)


def at_a_trial(number: int) -> bool:
    """Whether a worker holds the lock of a trial."""
    with contextlib.suppress(OSError):
        return any("/trials/" in str(path.readlink()) for path in Path(f"/proc/{number}/fd").iterdir())
    return False


@pytest.mark.slow
def test_six_workers_two_killed_and_a_server_that_restarts_cost_no_trial_and_double_none(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUILTIN, "local", "forked:Shared")

    def kill_two() -> None:
        end = time.monotonic() + 30
        while len(at_work := [number for number in alive(tmp_path / "searches") if at_a_trial(number)]) < 2:
            assert time.monotonic() < end
            time.sleep(0.02)
        for number in at_work[:2]:
            os.kill(number, signal.SIGKILL)

    def stop() -> None:
        server.stop("fast")
        threading.Timer(4, server.start).start()

    told = Meddling({"trial 1/": kill_two, "trial 4/": stop})
    result = searched(
        tmp_path,
        server.address(),
        trials=8,
        jobs=6,
        heartbeat_seconds=2,
        reporter=told,
        overrides=[*WORLD, "student.train.epochs=3"],
    )
    assert not told.what, told.lines
    assert sum("was killed (signal 9); its trial comes back" in line for line in told.lines) == 2
    waited = [line for line in told.lines if line.startswith("warning: the database is")]
    assert waited == [
        "warning: the database is away; waiting for it, for 300 s at most",
        "warning: the database is back",
    ]
    assert result.report["states"] == {"failed": 0, "finished": 8, "pruned": 0, "running": 0, "waiting": 0}
    # As the database itself has it: nothing is left over, and only what was killed was begun more than once.
    study = optuna.load_study(
        study_name=result.plan.study, storage=server.address().replace("postgresql", "postgresql+psycopg")
    )
    begun = [trial for trial in study.get_trials() if studies.SURPLUS not in trial.user_attrs]
    complete = [trial for trial in begun if trial.state.name == "COMPLETE"]
    killed = [trial for trial in begun if trial.state.name == "FAIL"]
    assert len(complete) == 8
    assert 2 <= len(killed) == len(begun) - 8
    assert {studies.origin(trial) for trial in complete} == {studies.origin(trial) for trial in begun}
    assert len({str(trial.params) for trial in complete}) == 8
    runs = list(result.folder.glob("trials/*/*/run.json"))
    assert len({path.parents[1] for path in runs}) == len(runs) == 8
    assert {read_json(path)["status"] for path in runs} == {"finished"}
    assert postgres.leaks(tmp_path) == []
    assert not any(secret in line for secret in postgres.SECRETS for line in told.lines)


@pytest.mark.slow
def test_a_search_gives_up_a_database_that_stays_away_and_goes_on_when_the_command_is_repeated(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "PATIENCE_SECONDS", 1.0)
    told = Meddling({"trial 1/": server.stop})
    began = time.monotonic()
    try:
        with pytest.raises(RunFailed) as caught:
            searched(tmp_path, server.address(), study="patience", reporter=told)
    finally:
        server.start()
    # It is not waited for again by everything that comes after.
    assert time.monotonic() - began < 20
    assert "cannot be used any more: postgresql+psycopg://kdbench:***@" in caught.value.message
    assert caught.value.hint is not None
    assert "that the server runs and listens there" in caught.value.hint
    assert "Repeat the same command" in caught.value.hint
    again = Meddling({"trial 2/": server.stop})
    monkeypatch.setattr(studies, "PATIENCE_SECONDS", 300.0)
    threading.Timer(0, lambda: _interrupt_once_away(again)).start()
    began = time.monotonic()
    try:
        with pytest.raises(Interrupted):
            searched(tmp_path, server.address(), study="patience", trials=3, reporter=again)
    finally:
        server.start()
    assert time.monotonic() - began < 60
    result = searched(tmp_path, server.address(), study="patience", trials=3)
    assert result.report["states"]["finished"] == 3
    assert postgres.leaks(tmp_path) == []


def _interrupt_once_away(told: Meddling) -> None:
    end = time.monotonic() + 60
    while not any("is away" in line for line in told.lines) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_an_address_may_leave_the_driver_out(tmp_path: Path) -> None:
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        assert storage_url(tmp_path, f"{scheme}://me@host/name") == "postgresql+psycopg://me@host/name"
    assert storage_url(tmp_path, "postgresql+psycopg2://me@host/name") == "postgresql+psycopg2://me@host/name"
    assert storage_url(tmp_path, None) == f"sqlite:///{tmp_path}/optuna.db"
