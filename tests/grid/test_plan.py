"""A plan: the same folders as the runs, how they stand, and what they share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from made_runs import least

import kdbench
from kdbench.errors import UsageError
from kdbench.grid.estimate import estimate, longest_first
from kdbench.grid.plan import GridPlan, make_plan
from kdbench.grid.state import State, note_attempt, read_state, set_broken_aside
from kdbench.grid.suite import Suite
from kdbench.launch.launcher import build
from kdbench.launch.local import Local
from kdbench.launch.machine import environment_of, gpus
from kdbench.recipes.terms import PartSpec
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.util.progress import Reporter

WORLD = {"data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}}
SMALL = "data.options={actions: 3, subjects: 4, trials: 2}"


def plan(root: Path, *methods: Any, **changes: Any) -> GridPlan:
    given = {"methods": methods, "datasets": ["motionsim"], "preset": "smoke", "set": WORLD}
    return make_plan(Suite.model_validate(given | changes), {"out": root, "device": "cpu"})


def test_a_cell_has_the_folder_that_its_run_would_have(tmp_path: Path) -> None:
    selecting = {"selection": {"rule": "best-val", "part": "test"}}
    for planned in plan(tmp_path, "sgm_ft", "student_only", seeds=2, set=WORLD | selecting).runs:
        of_run = context_for(
            RunRequest(
                planned.run_spec.method,
                "motionsim",
                preset="smoke",
                seed=planned.run_spec.seed,
                device="cpu",
                overrides=WORLD | selecting,
                protocol=planned.run_spec.protocol,
            )
        ).run_spec
        assert planned.folder == tmp_path / of_run.folder
        assert tuple(folder.name for folder in planned.teachers) == of_run.teacher_folders


def test_the_student_alone_comes_first_and_seeds_come_together(tmp_path: Path) -> None:
    made = plan(tmp_path, "hinton_raw", "student_only", seeds=2)
    order = [(planned.run_spec.seed, planned.run_spec.recipe.name) for planned in made.runs]
    assert order == [(0, "student_only"), (0, "hinton_raw"), (1, "student_only"), (1, "hinton_raw")]


def test_a_shared_teacher_counts_once(tmp_path: Path) -> None:
    made = plan(tmp_path, "hinton_raw", "rkd_raw", "hinton_wrong_trials_raw", "hinton_random_teacher_raw", seeds=2)
    # The random teacher is not trained, so that nothing waits for it.
    assert sorted(map(len, made.teachers().values())) == [3, 3]
    assert len(made.teachers_to_make()) == 2


def test_every_network_of_every_teacher_is_planned(tmp_path: Path) -> None:
    made = plan(tmp_path, "pskd_style", "ensemble", "born_again", "radevski2023")
    networks = {planned.run_spec.method: len(planned.teachers) for planned in made.runs}
    for planned in made.runs:
        assert networks[planned.run_spec.method] == len(planned.run_spec.teacher_parts)
    assert networks["pskd_style"] == 3
    assert len(made.teachers_to_make()) == len({folder for planned in made.runs for folder in planned.teachers})
    first = made.runs[0]
    there = next(iter(first.teachers))
    there.mkdir(parents=True)
    (there / "teacher.json").touch()
    (there / "teacher.safetensors").touch()
    assert there not in first.missing_teachers
    assert len(first.missing_teachers) == len(first.teachers) - 1


def test_one_cell_that_two_lines_mean_is_planned_once(tmp_path: Path) -> None:
    assert len(plan(tmp_path, "student_only", "student_only").runs) == 1


def test_changes_of_a_method_and_of_the_command_meet(tmp_path: Path) -> None:
    suite = Suite.model_validate(
        {
            "methods": [{"name": "hinton_raw", "set": {"student": {"losses": {"st": {"weight": 3}}}}}],
            "datasets": ["motionsim"],
            "preset": "smoke",
            "set": WORLD,
        }
    )
    made = make_plan(suite, {"out": tmp_path, "device": "cpu"}, ("student.train.epochs=5",))
    student = made.runs[0].run_spec.recipe.student
    assert student is not None
    assert (student.losses["st"].weight, student.train.epochs) == (3, 5)


def test_a_protocol_or_key_that_does_not_exist_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cross_subject"):
        plan(tmp_path, "student_only", protocols=["cross_subjects"])
    with pytest.raises(UsageError, match="did you mean 'epochs'"):
        plan(tmp_path, {"name": "student_only", "set": {"student": {"train": {"epoch": 3}}}})
    with pytest.raises(UsageError, match="unknown device"):
        make_plan(Suite(methods=[{"name": "rkd"}], datasets=["motionsim"]), {"out": tmp_path, "device": "x"})


def test_of_several_methods_the_one_that_does_not_fit_is_named(tmp_path: Path) -> None:
    wrong = {"name": "kd", "teacher": "raw", "set": {"student": {"encoder": {"name": "conv1d"}}}}
    with pytest.raises(UsageError) as one:
        plan(tmp_path, wrong)
    with pytest.raises(UsageError) as among:
        plan(tmp_path, "student_only", wrong)
    assert str(among.value) == f"kd + raw: {one.value}"


def written(folder: Path, **result: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(least(**result)))
    return folder


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"status": "finished"}, "done"),
        ({"status": "failed", "message": "a loss became NaN"}, "failed"),
        ({"status": "interrupted", "message": "by the user"}, "interrupted"),
        ({"status": "running"}, "interrupted"),
        ({"status": "finished", "metrics": None}, "failed"),
        ({"status": "melted"}, "failed"),
        ({"status": "finished", "metrics": {"accuracy": 0.5}}, "failed"),
        ({"schema_version": 99}, "failed"),
    ],
)
def test_the_status_follows_from_what_the_run_left(tmp_path: Path, result: dict[str, Any], status: str) -> None:
    state = read_state(written(tmp_path / "run", **result))
    assert state.status == status
    assert state.message == result.get("message", state.message)


def test_a_folder_without_a_run_is_to_do(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none").status == "to do"
    assert read_state(tmp_path).status == "to do"


def test_a_run_whose_lock_is_held_is_running(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", status="running")
    with FileLock(folder / ".lock"):
        assert read_state(folder).status == "running"
    assert read_state(folder) == State("interrupted", "it was killed; it goes on from its last epoch")


def test_how_an_attempt_ended_is_remembered_until_the_run_is_gone_on_with(tmp_path: Path) -> None:
    folder = written(tmp_path / "run", status="running")
    note_attempt(folder, State("timeout", "its time was up"), code=130, seconds=3.0, log=tmp_path / "x.log")
    assert read_state(folder) == State("timeout", "its time was up")
    later = (folder / "attempt.json").stat().st_mtime_ns + 10**9
    written(folder, status="interrupted", message="by hand")
    os.utime(folder / "run.json", ns=(later, later))
    assert read_state(folder).status == "interrupted"
    note_attempt(folder, State("done"), code=0, seconds=3.0, log=tmp_path / "x.log")
    assert not (folder / "attempt.json").exists()


def test_a_half_written_result_is_named_and_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text('{"status": "finis')
    assert read_state(folder).status == "failed"
    assert "not whole" in read_state(folder).message
    set_broken_aside(folder)
    assert read_state(folder).status == "to do"
    assert (folder / "run.json.broken").is_file()
    written(folder, status="failed", message="why")
    set_broken_aside(folder)
    assert read_state(folder).status == "failed"


def test_without_earlier_runs_the_cost_is_unknown(tmp_path: Path) -> None:
    cost = estimate(plan(tmp_path, "hinton_raw"))
    assert cost.seconds is None
    assert cost.disk_bytes is None


def test_the_cost_is_that_of_earlier_runs_and_a_teacher_counts_once(tmp_path: Path) -> None:
    made = plan(tmp_path, "hinton_raw", "rkd_raw", "student_only", seeds=[0, 1])
    for planned in made.runs[1:3]:
        recipe = planned.run_spec.recipe.model_dump(mode="json")
        spent = {"train_seconds": 10.0, "teacher_seconds": 100.0, "seconds_this_process": 12.0}
        result = {
            "method": planned.run_spec.method,
            "taught_by": planned.run_spec.recipe.taught_by,
            "dataset": "motionsim",
            "preset": "smoke",
            "recipe": recipe,
        }
        written(planned.folder, **result, cost=spent, teacher={"folder": "t", "accuracy": 0.5})
    made = plan(tmp_path, "hinton_raw", "rkd_raw", "student_only", seeds=[0, 1])
    assert made.counts() == {"done": 2, "to do": 4}
    cost = estimate(made)
    # Two runs of 12 s, two of the student alone after the others', and the second seed's teacher.
    assert cost.seconds == pytest.approx(4 * 12 + 100)
    assert cost.from_others == ("student_only",)
    assert cost.runs == 2
    written(tmp_path / "other", recipe=recipe, cost=spent, dataset="utd_mhad", preset="small")
    assert estimate(made).runs == 2


def test_what_the_grid_would_wait_for_longest_comes_first(tmp_path: Path) -> None:
    methods = ("student_only", "hinton_raw", "rkd_raw")
    whole = plan(tmp_path, *methods, seeds=[0, 1])
    assert longest_first(whole) == list(whole.runs)
    for planned, seconds in zip(whole.runs[:3], (80.0, 30.0, 60.0), strict=True):
        recipe = planned.run_spec.recipe.model_dump(mode="json")
        taught = {"taught_by": planned.run_spec.recipe.taught_by, "teacher": {"folder": "t", "accuracy": 0.5}}
        written(
            planned.folder,
            method=planned.run_spec.method,
            dataset="motionsim",
            preset="smoke",
            recipe=recipe,
            **(taught if planned.teachers else {}),
            cost={
                "train_seconds": seconds,
                "teacher_seconds": 5.0 if planned.teachers else None,
                "seconds_this_process": seconds,
            },
        )
    left = longest_first(plan(tmp_path, *methods, seeds=[0, 1]))
    # The longer of the two that share a teacher trains it: 60 + 5 + 60 s lie behind it; behind the student alone, 80.
    assert [planned.run_spec.title for planned in left] == ["rkd + raw", "student_only", "kd + raw"]
    assert {planned.run_spec.seed for planned in left} == {1}


def test_a_cost_that_other_settings_had_is_said_to_be_theirs(tmp_path: Path) -> None:
    earlier = plan(tmp_path, "student_only")
    recipe = earlier.runs[0].run_spec.recipe.model_dump(mode="json")
    spent = {"train_seconds": 10.0, "teacher_seconds": None, "seconds_this_process": 12.0}
    result = {"method": "student_only", "dataset": "motionsim", "preset": "smoke", "recipe": recipe, "cost": spent}
    written(earlier.runs[0].folder, **result)
    assert estimate(plan(tmp_path, "student_only", seeds=2)).from_others == ()
    longer = plan(tmp_path, "student_only", set=WORLD | {"student": {"train": {"epochs": 50}}})
    assert estimate(longer).from_others == ("student_only",)


def test_jobs_share_the_cores_and_take_turns_on_the_gpus() -> None:
    shared = environment_of(1, jobs=2, gpus=["0", "1"], cores=8, base={})
    assert shared["OMP_NUM_THREADS"] == "4"
    assert shared["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment_of(3, jobs=4, gpus=["a", "b"], cores=2, base={})["CUDA_VISIBLE_DEVICES"] == "b"
    kept = environment_of(0, jobs=2, gpus=["0"], cores=8, base={"OMP_NUM_THREADS": "3"})
    assert kept["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in kept
    assert "OMP_NUM_THREADS" not in environment_of(0, jobs=1, gpus=[], cores=8, base={})


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert gpus() == ["2", "5"]


def test_a_launcher_goes_by_its_name() -> None:
    assert isinstance(build(None, jobs=2, device="cpu", reporter=Reporter()), Local)
    with pytest.raises(UsageError, match="did you mean 'slurm'"):
        build(PartSpec(name="slurn"), jobs=2, device="cpu", reporter=Reporter())


def test_a_child_runs_the_code_of_its_parent_where_another_one_is_installed(tmp_path: Path) -> None:
    shutil.copytree(Path(kdbench.__file__).parent, tmp_path / "kdbench", ignore=shutil.ignore_patterns("__pycache__"))
    ask = "import json, os; from kdbench.launch.machine import environment_of as of; "
    ask += "print(json.dumps(of(0, jobs=1, gpus=[], cores=1, base=dict(os.environ))))"

    def said(*arguments: str, **more: Any) -> str:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True, **more
        ).stdout

    environment = json.loads(said("-c", ask))
    where = said("-P", "-c", "import kdbench; print(kdbench.__file__)", env=environment)
    assert Path(where.strip()) == tmp_path / "kdbench" / "__init__.py"


class Lines(Reporter):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def changed(root: Path, methods: list[Any], *overrides: str, **suite: Any) -> tuple[dict[str, Any], list[str]]:
    """The recipes of a grid by method, with changes of the command; and what was said."""
    told = Lines()
    given = {"methods": methods, "datasets": ["motionsim"], "preset": "smoke", "set": WORLD} | suite
    made = make_plan(Suite.model_validate(given), {"out": root, "device": "cpu"}, overrides, told)
    return {planned.run_spec.recipe.name: planned.run_spec.recipe for planned in made.runs}, told.lines


def test_a_change_goes_to_the_methods_that_have_what_it_is_about(tmp_path: Path) -> None:
    methods = ["teacher_only_raw", "student_only", "rkd_raw"]
    recipes, told = changed(tmp_path, methods, "student.train.epochs=3", "student.losses.rkd.weight=7")
    assert recipes["student_only"].student.train.epochs == recipes["rkd_raw"].student.train.epochs == 3
    assert recipes["rkd_raw"].student.losses["rkd"].weight == 7
    assert set(recipes["student_only"].student.losses) == {"ce"}
    assert recipes["teacher_only_raw"].student is None
    assert sorted(told) == [
        "--set student.losses.rkd.weight is not applied where there is no loss rkd of the student: student_only",
        "--set student.losses.rkd.weight is not applied where there is no student: teacher_only + raw",
        "--set student.train.epochs is not applied where there is no student: teacher_only + raw",
    ]


def test_a_suites_own_changes_are_spread_alike(tmp_path: Path) -> None:
    everywhere = WORLD | {"teacher": {"train": {"epochs": 5}}, "student.train.epochs": 4}
    recipes, told = changed(tmp_path, ["student_only", "hinton_raw"], set=everywhere)
    assert recipes["hinton_raw"].teacher.train.epochs == 5
    assert recipes["student_only"].student.train.epochs == recipes["hinton_raw"].student.train.epochs == 4
    assert told == ["set: teacher is not applied where there is no teacher: student_only"]


def test_a_loss_that_is_given_whole_is_added_to_every_method(tmp_path: Path) -> None:
    recipes, _ = changed(tmp_path, ["hinton_raw", "pkt_raw"], "student.losses.rkd={weight: 2}")
    assert all(recipe.student.losses["rkd"].weight == 2 for recipe in recipes.values())


@pytest.mark.parametrize(
    ("methods", "change", "said"),
    [
        (
            ["student_only", "student_only_sensor"],
            "teacher.train.epochs=3",
            "changes none of these methods: no teacher",
        ),
        (
            ["hinton_raw", "pkt_raw"],
            "student.losses.rkd.weight=3",
            r"no loss rkd of the student in kd \+ raw, pkt \+ raw",
        ),
        (["student_only"], "teacher.train.epochs=3", "'student_only' has no teacher, so teacher.train.epochs changes"),
        (
            ["teacher_only_raw"],
            "student.train.lr=3",
            r"'teacher_only \+ raw' has no student, so student.train.lr changes",
        ),
    ],
)
def test_a_change_that_applies_nowhere_is_refused(tmp_path: Path, methods: list[str], change: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        changed(tmp_path, methods, change)


def test_methods_of_one_name_are_told_apart_by_a_label(tmp_path: Path) -> None:
    methods = ["rkd_raw", {"name": "rkd_raw", "label": "weak", "set": {"student.losses.rkd.weight": 0.1}}]
    made = plan(tmp_path, *methods)
    assert [planned.request.name for planned in made.runs] == [None, "weak"]
    assert made.runs[1].request.words()[-2:] == ["--name", "weak"]
    with pytest.raises(UsageError, match="would call the runs of several methods the same"):
        make_plan(Suite(methods=methods, datasets=["motionsim"]), {"out": tmp_path, "name": "one"})


def ahead(root: Path, *overrides: str, method: str = "rkd_raw", **suite: Any) -> GridPlan:
    given = {"methods": [method], "datasets": ["motionsim"], "preset": "smoke", "set": WORLD} | suite
    return make_plan(Suite.model_validate(given), {"out": root, "device": "cpu"}, overrides, look_ahead=True)


def test_looking_ahead_prepares_nothing_and_knows_what_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    unprepared = ahead(tmp_path / "runs", seeds=2)
    assert [planned.state.status for planned in unprepared.runs] == ["to do", "to do"]
    assert len(unprepared.teachers_to_make()) == 2
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "runs").exists()
    prepared = plan(tmp_path / "runs", "rkd_raw", seeds=2)
    assert [planned.folder for planned in ahead(tmp_path / "runs", seeds=2).runs] == [
        planned.folder for planned in prepared.runs
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["student.losses.rkd.beeta=3"], "student.losses.rkd has no parameter 'beeta'"),
        (["student.losses.no_such={weight: 1}"], "unknown loss 'no_such'"),
        (["student.encoder.widths=[8, 8]"], "widths"),
        (["teacher.encoder.name=conv2d"], "conv2d"),
        (["student.train.epochs=many"], "student.train.epochs"),
    ],
)
def test_looking_ahead_refuses_what_a_run_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], said: str
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match=said):
        ahead(tmp_path / "runs", *changes)
    with pytest.raises(UsageError, match=said):
        kdbench.run(
            "rkd_raw", "motionsim", preset="smoke", device="cpu", out=tmp_path / "runs", overrides=[*changes, SMALL]
        )


def test_looking_ahead_fetches_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = {"student": {"encoder": {"weights": "pretrained"}}}
    made = ahead(tmp_path, method="hinton_r2plus1d", set=WORLD | weights)
    assert made.runs[0].run_spec.recipe.student.encoder.params["weights"] == "pretrained"
