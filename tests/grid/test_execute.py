"""Grids for real: processes that end well, fail, run out of memory or time, are killed, and are gone on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from forked import alive, fork, kdbench, place, wait
from made_runs import least

from kdbench.errors import RunFailed
from kdbench.grid.execute import execute
from kdbench.grid.plan import GridPlan, PlannedRun, make_plan
from kdbench.grid.show import GridView
from kdbench.grid.state import read_state
from kdbench.grid.suite import Suite, load_suite
from kdbench.launch import BUILTIN
from kdbench.launch.launcher import Program
from kdbench.registry.file import loaded
from kdbench.util.records import read_json, write_json

TROUBLE = '''
"""A loss that makes the trouble that it is asked for, until FOLDER/well is there."""
import os
import signal
import time
from pathlib import Path

import torch
from kdbench import loss

FOLDER = Path(__file__).parent


@loss("trouble", on="logits", teacher=False)
def trouble(student, batch, *, kind="none"):
    """Nothing, or trouble; the rehearsal before a run holds two trials, and is spared."""
    if len(batch) > 2 and not (FOLDER / "well").exists():
        if kind == "oom":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "undefined":
            return student.sum() * float("nan")
        if kind == "wait":
            (FOLDER / "waiting").touch()
            while not (FOLDER / "well").exists():
                time.sleep(0.05)
    return 0 * student.sum()
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "trouble.py"
    path.write_text(TROUBLE)
    with loaded([path]):
        yield path


def troubles(root: Path, *kinds: str) -> GridPlan:
    """A run of the student alone for each kind of trouble."""
    methods = [
        {"name": "student_only", "set": {"student": {"losses": {"trouble": {"weight": 1.0, "kind": kind}}}}}
        for kind in kinds
    ]
    world = {"data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}}
    suite = {"methods": methods, "datasets": ["motionsim"], "preset": "smoke", "set": world}
    return make_plan(Suite.model_validate(suite), {"out": root, "device": "cpu"})


def statuses(plan: GridPlan) -> list[str]:
    return [planned.state.status for planned in plan.runs]


def until(holds: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.slow
def test_every_ending_has_its_status_and_only_what_failed_is_tried_again(tmp_path: Path, plugin: Path) -> None:
    root = tmp_path / "runs"
    ended = execute(troubles(root, "none", "oom", "killed", "undefined"), place())
    assert statuses(ended) == ["done", "oom", "oom", "failed"]
    assert "Tried to allocate" in ended.runs[1].state.message
    assert "killed" in ended.runs[2].state.message
    assert "trouble became NaN" in ended.runs[3].state.message
    assert statuses(troubles(root, "none", "oom", "killed", "undefined")) == statuses(ended)
    first = (ended.runs[0].folder / "run.json").stat().st_mtime_ns
    (ended.runs[3].folder / "run.json").write_text('{"status": "runn')
    (tmp_path / "well").touch()
    again = execute(troubles(root, "none", "oom", "killed", "undefined"), place())
    assert statuses(again) == ["done"] * 4
    assert (ended.runs[0].folder / "run.json").stat().st_mtime_ns == first
    assert (ended.runs[3].folder / "run.json.broken").is_file()
    assert not list(root.glob("*/attempt.json"))
    log = (root / "logs" / f"{ended.runs[1].folder.name}.log").read_text()
    assert "out of memory on the CPU" in log
    assert "--set student.train.batch_size=" in log
    assert "accuracy" in log


class Late:
    """Starts processes that find, when they come to their run, that another process makes it already."""

    slots = 1

    def __init__(self) -> None:
        self.others: list[FileLock] = []
        self.log = Path("late.log")

    def start(self, program: Program, log: Path, slot: int) -> Late:
        out = Path(program.arguments[program.arguments.index("--out") + 1])
        (out / "run").mkdir(parents=True, exist_ok=True)
        self.others.append(FileLock(out / "run" / ".lock"))
        self.others[-1].acquire()
        return self

    def poll(self) -> int:
        return 2

    def printed(self) -> str:
        return "error: another process is making this very run"

    def interrupt(self) -> None:
        raise AssertionError

    kill = interrupt


def test_a_cell_that_another_process_came_first_to_is_waited_for(tmp_path: Path, plugin: Path) -> None:
    launcher, waited = Late(), []

    class Watched(GridView):
        def waits(self, planned: PlannedRun) -> None:
            waited.append(planned.label)
            write_json(planned.folder / "run.json", least())
            launcher.others[-1].release()

    plan = troubles(tmp_path, "none")
    plan = replace(plan, runs=(replace(plan.runs[0], folder=tmp_path / "run"),))
    ended = execute(plan, launcher, view=Watched())
    assert waited == [plan.runs[0].label]
    assert statuses(ended) == ["done"]


def test_a_folder_that_cannot_be_written_is_named_once_and_no_cell_starts(tmp_path: Path, plugin: Path) -> None:
    taken = tmp_path / "taken"
    plan = troubles(taken, "none")
    taken.write_text("")
    with pytest.raises(RunFailed, match=r"cannot write .*taken") as caught:
        execute(plan, place())
    assert "--out" in str(caught.value.hint)


@pytest.mark.slow
def test_a_cell_whose_time_is_up_goes_on_the_next_time(tmp_path: Path, plugin: Path) -> None:
    root = tmp_path / "runs"
    ended = execute(troubles(root, "wait"), place(), timeout=8)
    assert statuses(ended) == ["timeout"]
    assert not alive(root)
    (tmp_path / "well").touch()
    assert statuses(execute(troubles(root, "wait"), place())) == ["done"]


CHANGES = ["data={options: {actions: 3, subjects: 4, trials: 2}}", "student.losses.trouble={weight: 0, kind: wait}"]


def command(plugin: Path, root: Path) -> list[str]:
    given = ["--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--out", str(root)]
    given += [word for change in CHANGES for word in ("--set", change)]
    return ["run", "--method", "student_only", "--jobs", "2", "--seeds", "2", *given, "--plugin", str(plugin)]


IN_THE_BACKGROUND = """
import signal
from forked import fork_jobs
from kdbench.cli import main

fork_jobs()
signal.signal(signal.SIGINT, signal.SIG_IGN)
main()
"""


@pytest.mark.slow
def test_children_end_with_an_interrupted_or_killed_grid_which_is_gone_on_with(tmp_path: Path, plugin: Path) -> None:
    root = tmp_path / "runs"
    # Interrupted
    with (tmp_path / "output").open("w+b") as output:
        grid = fork(Program("forked", tuple(command(plugin, root))), output)
        until(lambda: grid.poll() is not None or (tmp_path / "waiting").exists())
        grid.interrupt()
        code = wait(grid, 120)
        output.seek(0)
        printed = output.read().decode()
    assert code == 130, printed
    assert "Repeat the same command" in printed
    assert not alive(root)
    assert {read_state(path.parent).status for path in root.glob("*/attempt.json")} == {"interrupted"}
    # Killed, from a shell that starts it in the background, where Ctrl-C is ignored
    (tmp_path / "waiting").unlink()
    with (tmp_path / "output").open("wb") as output:
        grid = fork(Program("probe", ("python", IN_THE_BACKGROUND, *command(plugin, root))), output)
    waiting = tmp_path / "waiting"
    until(lambda: grid.poll() is not None or (waiting.exists() and len(list(root.glob("*/run.json"))) == 2))
    grid.kill()
    until(lambda: not alive(root), 40)
    assert {read_json(path)["status"] for path in root.glob("*/run.json")} == {"interrupted"}
    (tmp_path / "well").touch()
    suite = {"methods": ["student_only"], "datasets": ["motionsim"], "preset": "smoke", "seeds": 2}
    again = execute(make_plan(Suite.model_validate(suite), {"out": root, "device": "cpu"}, CHANGES), place())
    assert statuses(again) == ["done"] * 2
    assert {path.parent for path in root.glob("*/run.json")} == {planned.folder for planned in again.runs}
    until(lambda: not alive(root), 60)


@pytest.mark.slow
def test_the_smoke_suite_runs_two_at_a_time_on_a_fresh_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kdbench_main: Callable[..., tuple[int, str]]
) -> None:
    monkeypatch.delenv("KDBENCH_TRACKING")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    given = ["--suite", "smoke", "--device", "cpu", "--out", str(tmp_path)]
    code, out = kdbench_main("run", *given, "--dry-run")
    count = len(load_suite("smoke").methods)
    assert code == 0
    assert f"{count} runs: {count} to do" in out
    assert "2 teachers, used by 3 runs: 2 to train" in out
    assert "unknown" in out
    assert not list(tmp_path.iterdir())
    # In a fork, whose own forks have MLflow from it; those of the shared process would import it one by one.
    done = kdbench("run", *given, "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} runs: {count} done" in done.stdout
    assert f"Compare them: kdbench compare --out {tmp_path}" in done.stdout
    logs = [path.read_text() for path in (tmp_path / "logs").iterdir()]
    assert len(logs) == count
    trouble = ("MLflow is off", "is not made", "did not answer")
    assert not [log for log in logs if any(words in log for words in trouble)]
    # Nobody waited for a teacher that another one trained.
    assert not [log for log in logs if "trains this teacher" in log]
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert len(client.search_runs(experiments)) == count
    code, out = kdbench_main("run", *given, "--jobs", "2", "--seeds", "2", "--dry-run")
    assert code == 0
    assert f"{2 * count} runs: {count} done, {count} to do" in out
    assert f"from {count} finished runs" in out


@pytest.mark.slow
def test_several_seeds_fail_one_by_one_and_end_with_code_1_and_the_command_to_retry(
    tmp_path: Path, plugin: Path, kdbench_main: Callable[..., tuple[int, str]]
) -> None:
    given = ["--method", "student_only", "--dataset", "motionsim", "--preset", "smoke", "--seeds", "2"]
    given += ["--device", "cpu", "--out", str(tmp_path / "runs"), "--set", "student.losses.trouble.kind=undefined"]
    given += ["--set", "data.options={actions: 3, subjects: 4, trials: 2}"]
    given += ["--plugin", str(plugin)]
    code, out = kdbench_main("run", *given)
    assert code == 1
    assert "2 runs: 2 failed" in out
    assert "Try again what is not done: kdbench run --method student_only" in out
    assert "'data.options={actions: 3, subjects: 4, trials: 2}'" in out
    assert f"--plugin {plugin}" in out


def test_what_a_grid_cannot_read_is_refused(kdbench_main: Callable[..., tuple[int, str]]) -> None:
    assert kdbench_main("run", "--suite", "smokes")[0] == 2
    assert kdbench_main("run", "--method", "rkd", "--jobs", "2")[0] == 2
    assert kdbench_main("run", "--suite", "smoke", "--timeout", "soon")[0] == 2
    assert kdbench_main("run", "--suite", "smoke", "--preset", "tiny", "--device", "cpu")[0] == 2
    assert kdbench_main("run", "--suite", "smoke", "--launcher", "slurn")[0] == 2


@pytest.fixture
def kdbench_main(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """A command in this process, whose runs are forks of the shared warm one: its exit code and what it printed."""
    from kdbench.cli import main

    monkeypatch.setitem(BUILTIN, "local", "forked:Shared")

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out + captured.err

    return call
