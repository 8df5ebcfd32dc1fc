"""One run in several processes: started, ended and gone on with; what it cannot be asked for."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from forked import fork, wait
from helpers import WORLD, tiny

from kdbench.cli.grid import _check_processes as check_processes
from kdbench.engine.device import build_accelerator
from kdbench.errors import UsageError
from kdbench.grid.plan import make_plan
from kdbench.grid.suite import asked_for as asked_for_in_a_suite
from kdbench.launch.launcher import Program
from kdbench.recipes.terms import PartSpec
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run_request

SETTINGS = ("student.train.epochs=12", "student.train.batch_size=8", "student.train.optimizer=sgd")
TEACHER = ("teacher.train.batch_size=8", "teacher.train.epochs=8")


def words(out: Path, processes: int) -> tuple[str, ...]:
    """The command of `tiny("kd_sensor", …)` in several processes."""
    fixed = ("run", "--method", "kd_sensor", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu")
    changes = [word for change in (*WORLD, *TEACHER, *SETTINGS) for word in ("--set", change)]
    return (*fixed, "--out", str(out), "--processes", str(processes), *changes)


def member(parent: int, rank: int) -> psutil.Process:
    """The process of a rank."""
    children = psutil.Process(parent).children(recursive=True)
    return next(child for child in children if child.environ().get("RANK") == str(rank))


@pytest.mark.slow
def test_where_a_process_dies_the_run_ends_and_goes_on_in_another_number(tmp_path: Path) -> None:
    whole = tiny("kd_sensor", tmp_path / "whole", *SETTINGS)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = fork(Program("kdbench", words(tmp_path / "parted", 2)), output, output)
        deadline = time.monotonic() + 200
        while not (logged := list((tmp_path / "parted").glob("*-s0-*/metrics.jsonl"))):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.pid is not None
        others = psutil.Process(process.pid).children(recursive=True)
        member(process.pid, 1).send_signal(signal.SIGKILL)
        killed = time.monotonic()
        assert wait(process, 100) == 1
        assert time.monotonic() - killed < 60
    said = " ".join(log.read_text().split())
    assert "process 2 of 2 was ended by SIGKILL; the others were ended, and every finished epoch is kept" in said
    assert "with as many --processes as you like" in said
    assert not [other for other in others if other.is_running() and other.status() != psutil.STATUS_ZOMBIE]
    assert len(logged[0].read_text().splitlines()) < 12

    again = tiny("kd_sensor", tmp_path / "parted", *SETTINGS)
    records = [json.loads(line) for line in (again.folder / "metrics.jsonl").read_text().splitlines()]
    numbers = [record.get("processes") for record in records]
    assert numbers[0] == 2
    assert numbers[-1] is None
    assert again.folder.name == whole.folder.name
    assert again.result["conditions"]["processes"] == 2
    assert "processes" not in whole.result["conditions"]
    assert "this student was trained by 2, then 1 processes" in again.result["warnings"]
    ours, theirs = (each.predictions().filter(like="logit").to_numpy() for each in (again, whole))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def asked(processes: object, **fields: object) -> RunRequest:
    changes = fields.pop("overrides", [])
    method = str(fields.pop("method", "kd_sensor"))
    return RunRequest(
        method,
        "motionsim",
        preset="smoke",
        device="cpu",
        overrides=[*WORLD, *changes],  # type: ignore[misc]
        processes=processes,  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (asked(0), "processes is 0, expected a whole number from 1 to 64"),
        (asked(True), "processes is True"),
        (asked(2, method="untrained_sensor"), "--processes 2 has no effect: untrained_sensor trains nothing"),
        (asked(2, overrides=["compile=true"]), "a compiled network cannot be shared"),
        (asked(3, overrides=["student.train.batch_size=5"]), "less than 2 trials at a time"),
        (asked(2, overrides=["student.train={batch_size: 8, accumulate: 3}"]), "= 8 in 3 parts gives a process less"),
    ],
)
def test_what_processes_cannot_do_is_refused_before_they_start(
    request_: RunRequest, match: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=match):
        run_request(request_.changed({}, out=tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_process_that_another_program_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.engine.device.Accelerator", lambda **_: type("Two", (), {"num_processes": 2}))
    with pytest.raises(UsageError, match="one of 2 processes that another program started") as caught:
        build_accelerator("cpu", "fp32")
    assert "--processes N" in str(caught.value)


def test_a_grid_of_this_machine_gives_a_run_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.launch.machine.gpus", lambda: ["0", "1"])
    asked_for = {"processes": 2, "device": "auto"}
    with pytest.raises(
        UsageError, match="--processes 2 beside other runs: the launcher local gives each run"
    ) as caught:
        check_processes(asked_for, None)
    assert "--jobs 2" in str(caught.value)
    check_processes({**asked_for, "device": "cpu"}, None)
    check_processes({**asked_for, "processes": None}, None)
    check_processes(asked_for, PartSpec(name="slurm"))


def test_a_grid_refuses_what_its_runs_would(tmp_path: Path) -> None:
    suite = asked_for_in_a_suite("run", None, ["kd_sensor"], ["motionsim"], print, preset="smoke", seeds=2)
    options = {"device": "cpu", "out": tmp_path, "processes": 3}
    with pytest.raises(UsageError, match="less than 2 trials at a time"):
        make_plan(suite, options, [*WORLD, "student.train.batch_size=5"], look_ahead=True)
