"""What a grid says before it starts, on a terminal of 80 columns."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from made_runs import least
from rich.console import Console

from kdbench.grid.estimate import estimate
from kdbench.grid.plan import GridPlan, make_plan
from kdbench.grid.show import show_plan
from kdbench.grid.suite import Suite

METHODS = ("student_only", "hinton_random_teacher_raw", "hinton_wrong_trials_raw", "hinton_raw", "rkd_raw", "crd_raw")
TITLES = ("student_only", "kd + raw_random", "kd_wrong_trials + raw", "kd + raw", "rkd + raw", "crd + raw")
WORLD = {"data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}}


def plan(root: Path, methods: tuple[str, ...], **more: object) -> GridPlan:
    given = {"methods": methods, "datasets": ["motionsim"], "preset": "smoke", "set": WORLD, "seeds": 5}
    return make_plan(Suite.model_validate(given | more), {"out": root, "device": "cpu"})


def shown(root: Path, methods: tuple[str, ...], **more: object) -> list[str]:
    """The plan as a terminal shows it, after seed 0 of the first method has been run."""
    first = plan(root, methods, **more).runs[0]
    spent = {"train_seconds": 10.0, "teacher_seconds": None, "seconds_this_process": 12.0}
    result = least(
        method=methods[0],
        dataset="motionsim",
        preset="smoke",
        cost=spent,
        recipe=first.run_spec.recipe.model_dump(mode="json"),
    )
    first.folder.mkdir(parents=True)
    (first.folder / "run.json").write_text(json.dumps(result))
    made = plan(root, methods, **more)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    show_plan(made, estimate(made), jobs=1, console=console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_plan_has_a_line_for_each_method_with_its_seeds_as_ranges(tmp_path: Path) -> None:
    lines = shown(tmp_path, METHODS)
    assert lines[0] == "motionsim · cross_subject · smoke"
    assert [line.partition("  ")[0] for line in lines[2:8]] == list(TITLES)
    assert " ".join(lines[2].split()[1:6]) == "done 0 · to do"
    assert "1–4" in lines[2]
    assert all(line.endswith("to do 0–4") for line in lines[3:8])
    assert lines[8] == "30 runs: 1 done, 29 to do"


def test_what_methods_do_not_have_in_common_is_a_column(tmp_path: Path) -> None:
    lines = shown(tmp_path, METHODS[:2], protocols=["cross_subject", "loso_1"])
    assert lines[0] == "motionsim · smoke"
    assert lines[1].split()[:2] == ["method", "protocol"]


@pytest.mark.slow
def test_many_methods_without_an_earlier_run_are_counted(tmp_path: Path) -> None:
    said = " ".join(shown(tmp_path, METHODS))
    assert "taken from 1 finished run; 5 methods without an earlier run with these settings." in said


def test_few_methods_without_an_earlier_run_are_named(tmp_path: Path) -> None:
    said = " ".join(shown(tmp_path, METHODS[:3]))
    assert f"no earlier run of {TITLES[1]} or {TITLES[2]} with these settings." in said
