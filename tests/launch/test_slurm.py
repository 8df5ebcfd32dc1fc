"""Jobs through submitit, with its engine for one machine: the same results, jobs whose time is over, jobs that fail."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from forked import kdbench
from helpers import WORLD, tiny

from kdbench.errors import UsageError
from kdbench.grid.execute import execute
from kdbench.grid.plan import make_plan
from kdbench.grid.suite import Suite
from kdbench.launch.launcher import Program, asked_for, build
from kdbench.launch.slurm import Slurm, SlurmJob
from kdbench.recipes.terms import PartSpec
from kdbench.runs.store import stored_runs
from kdbench.util.progress import Reporter
from kdbench.util.records import read_jsonl

HERE = {"name": "slurm", "cluster": "local"}
SUITE = {
    "methods": ["student_only"],
    "datasets": ["motionsim"],
    "preset": "smoke",
    "set": {"data": {"options": {"actions": 4, "subjects": 4, "trials": 3}}, "student": {"train": {"epochs": 40}}},
}


class Preempted(Slurm):
    """Tells every first job that its time is over, as soon as its run has an epoch behind it."""

    root: Path
    told: int = 0

    def start(self, program: Program, log: Path, slot: int) -> SlurmJob:
        job = super().start(program, log, slot)
        poll = job.poll

        def watched() -> int | None:
            # An epoch is logged before its checkpoint is whole; the one before it can be gone on with.
            begun = any(
                len(path.read_text().splitlines()) > 1 for path in self.root.glob("student_only-*/metrics.jsonl")
            )
            if begun and not self.told and job.submitted is not None:
                self.told += 1
                (child,) = psutil.Process(job.submitted._process.pid).children()
                child.send_signal(signal.SIGUSR2)
            return poll()

        job.poll = watched  # type: ignore[method-assign]
        return job


def predictions(root: Path) -> pd.DataFrame:
    (run,), _ = stored_runs(root)
    return pd.read_parquet(run.folder / "predictions.parquet")


@pytest.mark.slow
def test_a_job_whose_time_is_over_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    plan = make_plan(Suite.model_validate(SUITE), {"out": root, "device": "cpu"})
    place = Preempted(jobs=1, device="cpu", reporter=Reporter(), cluster="local")
    place.root = root
    with place:
        ended = execute(plan, place)
    assert [planned.state.status for planned in ended.runs] == ["done"]
    assert place.told == 1
    log = next((root / "logs").glob("*.log")).read_text()
    assert "interrupted" in log
    assert "going on after epoch" in log
    (run,), _ = stored_runs(root)
    assert [record["epoch"] for record in read_jsonl(run.folder / "metrics.jsonl")] == [*range(1, 41)]
    tiny("student_only", tmp_path / "here", "student.train.epochs=40")
    for column in predictions(root):
        there, here = predictions(root)[column], predictions(tmp_path / "here")[column]
        assert np.array_equal(there, here), column


@pytest.mark.slow
def test_a_grid_and_a_search_run_on_it(tmp_path: Path) -> None:
    given = ["--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--out", tmp_path]
    given += ["--launcher", "slurm", "--launcher-option", "cluster=local", "--set", WORLD[0]]
    grid = kdbench("run", "--method", "student_only", "--seeds", "2", "--jobs", "2", *given)
    assert grid.returncode == 0, grid.stderr
    assert len(stored_runs(tmp_path)[0]) == 2
    search = kdbench("search", "--method", "student_only", "--trials", "2", "--jobs", "2", "--no-final", *given)
    assert search.returncode == 0, search.stderr
    (report,) = tmp_path.rglob("search.json")
    assert [trial["state"] for trial in json.loads(report.read_text())["trials"]] == ["finished"] * 2
    assert list(report.parent.glob("submitit/*_submitted.pkl"))


@pytest.mark.slow
def test_a_job_that_cannot_begin_is_told_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with build(PartSpec(**HERE), jobs=1, device="cpu", reporter=Reporter()) as place:
        job = place.start(Program("kdbench.testing.program", ("exit", "0")), tmp_path / "log", 0)
        monkeypatch.setattr("submitit.AutoExecutor.submit", _refused)
        code: Any = None
        while (code := job.poll()) is None:
            time.sleep(0.05)
    assert code == 1
    assert job.printed() == "error: it could not be submitted: the account is spent\n"


def _refused(*_: object) -> None:
    raise RuntimeError("the account is spent")


def test_without_a_cluster_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="finds no sbatch here"):
        build(PartSpec(name="slurm"), jobs=1, device="cpu", reporter=Reporter())


def test_options_go_on_top_of_those_of_the_suite() -> None:
    of_suite = PartSpec(name="slurm", minutes=30, cores=4)
    assert asked_for(None, ["minutes=90"], of_suite) == PartSpec(name="slurm", minutes=90, cores=4)
    assert asked_for("slurm", [], of_suite) == of_suite
    assert asked_for("local", [], of_suite) == PartSpec(name="local")
    assert asked_for(None, []) is None
    with pytest.raises(UsageError, match="is of no launcher"):
        asked_for(None, ["minutes=90"])
    with pytest.raises(UsageError, match=r"unknown key 'minute'.*minutes"):
        build(PartSpec(**HERE, minute=3), jobs=1, device="cpu", reporter=Reporter())
    with pytest.raises(UsageError, match="minutes"):
        build(PartSpec(**HERE, minutes="soon"), jobs=1, device="cpu", reporter=Reporter())
