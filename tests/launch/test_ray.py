"""Tasks of a real Ray cluster of several machines, here processes of this one: one of them dies in the middle."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import tiny

from kdbench.errors import UsageError
from kdbench.grid.execute import execute
from kdbench.grid.plan import make_plan
from kdbench.grid.suite import Suite
from kdbench.launch import ray_head
from kdbench.launch.launcher import Program, build
from kdbench.launch.ray import Ray
from kdbench.recipes.terms import PartSpec
from kdbench.runs.store import stored_runs
from kdbench.util.progress import Reporter
from kdbench.util.records import read_jsonl

ray = pytest.importorskip("ray")
EPOCHS = 60
SUITE = {
    "methods": ["student_only"],
    "datasets": ["motionsim"],
    "preset": "smoke",
    "seeds": 3,
    "set": {"data": {"options": {"actions": 4, "subjects": 4, "trials": 3}}, "student": {"train": {"epochs": EPOCHS}}},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that takes no tasks, and two machines with a core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


class Lines(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.slow
def test_a_machine_that_dies_costs_nothing_but_time(cluster: Any, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    plan = make_plan(Suite.model_validate(SUITE), {"out": root, "device": "cpu"})
    killed: list[float] = []

    class Watched(Ray):
        def start(self, program: Program, log: Path, slot: int) -> Any:
            job = super().start(program, log, slot)
            poll = job.poll

            def watched() -> int | None:
                # An epoch is logged before its checkpoint is whole; the one before it can be gone on with.
                logged = [len(path.read_text().splitlines()) > 1 for path in root.glob("student_only-*/metrics.jsonl")]
                if not killed and sum(logged) == 2:
                    killed.append(time.monotonic())
                    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
                    cluster.add_node(num_cpus=1)
                return poll()

            job.poll = watched
            return job

    place = Watched(jobs=2, device="cpu", reporter=Reporter(), address=cluster.address)
    with place:
        ended = execute(plan, place)
    assert [planned.state.status for planned in ended.runs] == ["done"] * 3
    assert killed
    runs, _ = stored_runs(root)
    assert sorted(run.seed for run in runs) == [0, 1, 2]
    logs = [path.read_text() for path in (root / "logs").glob("*.log")]
    # The run of the machine that died went on from its last epoch.
    assert sum("going on after epoch" in log for log in logs) == 1
    for run in runs:
        assert [record["epoch"] for record in read_jsonl(run.folder / "metrics.jsonl")] == [*range(1, EPOCHS + 1)]
        here = tiny("student_only", tmp_path / "here", f"student.train.epochs={EPOCHS}", seed=run.seed)
        there = pd.read_parquet(run.folder / "predictions.parquet")
        pd.testing.assert_frame_equal(there, here.predictions(), check_exact=True)


@pytest.mark.slow
def test_what_no_machine_can_give_is_told(cluster: Any, tmp_path: Path) -> None:
    told = Lines()
    with build(PartSpec(name="ray", address=cluster.address, cores=64), jobs=1, device="cpu", reporter=told) as place:
        job = place.start(Program("kdbench.testing.program", ("exit", "0")), tmp_path / "log", 0)
        assert told.warnings == [
            "a task asks for 64 CPU, and no machine of the cluster has more than 1: it waits until one joins"
        ]
        job.interrupt()
        deadline = time.monotonic() + 60
        while job.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert job.poll() == 1
    assert "the task was lost" in job.printed()


_DRIVER = """
import sys, time
from pathlib import Path
from kdbench.launch import ray_head
from kdbench.errors import RunFailed
from kdbench.launch.launcher import Program, build
from kdbench.recipes.terms import PartSpec
from kdbench.util.progress import Reporter

ray_head.GIVEN_UP_SECONDS = 5.0
address, folder = sys.argv[1:]
with build(PartSpec(name="ray", address=address), jobs=1, device="cpu", reporter=Reporter()) as place:
    program = Program("kdbench.testing.program", ("wait", folder + "/begun"))
    job = place.start(program, Path(folder) / "log", 0)
    try:
        while job.poll() is None:
            time.sleep(0.1)
    except RunFailed as error:
        print(error, flush=True)
    job.kill()
"""


@pytest.mark.slow
def test_a_head_that_is_lost_is_told_before_ray_ends_the_process(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        words = [sys.executable, "-c", _DRIVER, made.address, str(tmp_path)]
        driver = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        made.head_node.kill_gcs_server()
        output, _ = driver.communicate(timeout=120)
    finally:
        made.shutdown()
    assert output.startswith("the head of the Ray cluster does not answer any more")
    assert driver.returncode == 0


def test_a_head_that_answers_again_in_time_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_head, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(ray_head, "GIVEN_UP_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        head = ray_head.Head(f"127.0.0.1:{port}")
        assert not head.is_lost
    assert not head.is_lost
    with socket.create_server(("127.0.0.1", port)):
        time.sleep(0.25)
        assert not head.is_lost
    # However long nobody looked, one silence is not enough.
    time.sleep(0.25)
    assert not head.is_lost
    time.sleep(0.25)
    assert head.is_lost


def test_a_cluster_that_is_not_there_is_an_error() -> None:
    place = build(PartSpec(name="ray", address="127.0.0.1:1"), jobs=1, device="cpu", reporter=Reporter())
    with contextlib.ExitStack() as stack, pytest.raises(UsageError, match="there is no Ray cluster at"):
        stack.enter_context(place)
