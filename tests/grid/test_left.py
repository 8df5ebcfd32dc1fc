"""What a grid says of the time that it takes, and how its live table fits into a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_runs import least
from rich.console import Console

from kdbench.grid.estimate import estimate
from kdbench.grid.left import TimeLeft
from kdbench.grid.plan import GridPlan, PlannedRun, make_plan
from kdbench.grid.show import LineView, LiveView
from kdbench.grid.state import State
from kdbench.grid.suite import Suite

WORLD = {"data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets."""
    held = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.monotonic", lambda: held.now)
    return held


def plan(root: Path, *methods: str, seeds: int = 1) -> GridPlan:
    given = {"methods": methods, "datasets": ["motionsim"], "preset": "smoke", "set": WORLD, "seeds": seeds}
    return make_plan(Suite.model_validate(given), {"out": root, "device": "cpu"})


def finished(planned: PlannedRun, seconds: float) -> PlannedRun:
    """The planned with the result of a run that took so long, the start of its process apart."""
    cost = {"train_seconds": seconds, "teacher_seconds": None, "seconds_this_process": seconds}
    recipe = planned.run_spec.recipe.model_dump(mode="json")
    result = least(method=planned.run_spec.method, dataset="motionsim", preset="smoke", cost=cost, recipe=recipe)
    planned.folder.mkdir(parents=True)
    (planned.folder / "run.json").write_text(json.dumps(result))
    return replace(planned, state=State("done", accuracy=0.5))


def test_the_time_that_is_left_follows_from_what_the_grid_has_made(tmp_path: Path, clock: SimpleNamespace) -> None:
    runs = plan(tmp_path, "student_only", seeds=5).runs
    left = TimeLeft(plan(tmp_path, "student_only", seeds=5), jobs=2)
    assert left.seconds is None
    left.started(runs[0])
    left.started(runs[1])
    clock.now += 30
    left.ended(finished(runs[0], seconds=20), 30)
    # Four of 20 s and 10 s of start each, of which one has run for 30 s; two at a time.
    assert left.seconds == pytest.approx((4 * 30 - 30) / 2)
    clock.now += 7
    assert left.seconds == pytest.approx(45 - 7)
    left.ended(replace(runs[1], state=State("failed", "why")), 37)
    assert left.seconds == pytest.approx(3 * 30 / 2)
    for planned in runs[2:]:
        left.ended(replace(planned, state=State("failed", "why")), 30)
    assert left.seconds is None


def test_nothing_is_promised_while_a_cost_is_unknown(tmp_path: Path) -> None:
    made = plan(tmp_path, "student_only", "hinton_raw")
    left = TimeLeft(made, jobs=1)
    left.ended(finished(made.runs[0], seconds=20), 30)
    # No teacher has been trained yet.
    assert left.seconds is None


def test_each_end_in_a_pipe_tells_the_accuracy_and_both_times(tmp_path: Path, clock: SimpleNamespace) -> None:
    made = plan(tmp_path, "student_only", seeds=3)
    out = io.StringIO()
    with LineView(Console(file=out, width=200), made, jobs=1) as view:
        view.started(made.runs[0])
        clock.now += 65
        view.ended(finished(made.runs[0], seconds=60), 65, tmp_path / "log")
        view.waits(made.runs[1])
    said = out.getvalue().splitlines()
    assert said[0] == f"logs: {tmp_path / 'logs'}"
    assert said[1] == "started: student_only · motionsim · cross_subject · seed 0"
    assert said[2].endswith("in 1 min 5 s · accuracy 50.00 % · 1 of 3 · 1 min 5 s elapsed, about 2 min 10 s left")
    assert said[3] == "waiting: student_only · motionsim · cross_subject · seed 1: another process makes it"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_live_table_keeps_seed_and_time_where_a_log_line_is_long(tmp_path: Path, width: int) -> None:
    made = plan(tmp_path, "hinton_random_teacher_raw")
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    job = SimpleNamespace(printed=lambda: "epoch 1\n" + "warning: this is a control and no method " * 9)
    console.print(
        LiveView(console, made, jobs=1).drawn([SimpleNamespace(planned=made.runs[0], seconds=312.0, job=job)])  # type: ignore[list-item]
    )
    line = console.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    assert "kd + raw_random · seed 0" in line
    assert "warning: this is a control" in line
    assert "5 min 12 s" in line
    assert len(line) <= width


def test_the_live_table_fits_80_columns_with_its_epoch_and_the_time_left(tmp_path: Path) -> None:
    made = plan(tmp_path, "hinton_random_teacher_raw")
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    said = "student 21/30 · ce 2.74 st 0.00484 sgm 2.05 · train 39.1 % · 170 trials/s · 1 min 2 s left\n"
    job = SimpleNamespace(printed=lambda: said)
    view = LiveView(console, made, jobs=1)
    console.print(view.drawn([SimpleNamespace(planned=made.runs[0], seconds=312.0, job=job)]))  # type: ignore[list-item]
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert lines[0] == "kd + raw_random · seed 0  5 min 12 s  student 21/30 · 1 min 2 s left"
    assert lines[1].startswith("0 of 1 finished, 1 running · 0 s elapsed")
    assert len(lines) == 2


def test_an_end_in_a_terminal_leaves_what_the_table_tells_to_it(tmp_path: Path) -> None:
    made = plan(tmp_path, "student_only", seeds=2)
    out = io.StringIO()
    view = LiveView(Console(file=out, width=80, force_terminal=True, color_system=None), made, jobs=1)
    view.ended(finished(made.runs[1], seconds=60), 65, tmp_path / "log")
    assert out.getvalue() == "done: student_only · seed 1 in 1 min 5 s · accuracy 50.00 %\n"


def test_a_run_that_has_named_its_folder_is_still_writing(tmp_path: Path) -> None:
    made = plan(tmp_path, "student_only")
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    job = SimpleNamespace(printed=lambda: "pictures: runs/a.png\nfolder:   runs/a\n")
    console.print(
        LiveView(console, made, jobs=1).drawn([SimpleNamespace(planned=made.runs[0], seconds=312.0, job=job)])  # type: ignore[list-item]
    )
    line = console.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    assert line.rstrip().endswith("writing the result")


def test_a_run_that_ends_has_no_other_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(tmp_path, "student_only", seeds=3)
    left = TimeLeft(made, jobs=1)

    def again(*_: object) -> None:
        raise AssertionError("all runs were read")

    monkeypatch.setattr("kdbench.grid.estimate.stored_runs", again)
    for planned in made.runs[:2]:
        left.started(planned)
        left.ended(finished(planned, seconds=20), 20)
    assert left.seconds == pytest.approx(20, abs=1)


def test_the_time_that_is_left_is_that_of_an_estimate_from_the_start(tmp_path: Path) -> None:
    made = plan(tmp_path, "student_only", "kd", seeds=2)
    left = TimeLeft(made, jobs=1)
    assert left.seconds is None
    ended = next(planned for planned in made.runs if planned.run_spec.method == "student_only")
    left.ended(finished(ended, seconds=20), 20)
    fresh = estimate(plan(tmp_path, "student_only", "kd", seeds=2))
    # Of the teachers nothing is known.
    assert fresh.unknown
    assert left.seconds is None
