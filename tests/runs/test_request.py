"""A run as it is asked for: one object all the way, and nothing in it without effect."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from helpers import WORLD

import kdbench
from kdbench.cli import main
from kdbench.errors import UsageError
from kdbench.grid.plan import make_plan
from kdbench.grid.suite import Suite
from kdbench.recipes import resolve as resolving
from kdbench.runs.idle import negative_weights, refuse_idle
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run_request
from kdbench.util.progress import Reporter

FULL: dict[str, Any] = {
    "teacher": "raw_ft",
    "protocol": "cross_subject",
    "preset": "smoke",
    "video": "depth",
    "seed": 3,
    "overrides": {"student": {"train": {"epochs": 2}}, "data": {"options": {"actions": 3}}},
    "device": "cpu",
    "threads": 2,
    "processes": 2,
    "precision": "bf16",
    "data_dir": Path("data"),
    "exclude_broken": True,
    "out": Path("runs"),
    "fresh": True,
    "name": "mine",
}


def test_its_words_ask_for_the_same_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[RunRequest] = []
    monkeypatch.setattr("kdbench.runs.run.run_request", lambda request, _reporter: asked.append(request))
    monkeypatch.setattr("kdbench.cli.run.show", lambda *_: None)
    for fields in ({"preset": "smoke"}, FULL):
        request = RunRequest("rkd", "motionsim", **fields)
        with pytest.raises(SystemExit) as ended:
            main(["run", *request.words()])
        assert ended.value.code == 0
        assert asked.pop() == request
    assert set(FULL) | {"method", "dataset"} == {field.name for field in dataclasses.fields(RunRequest)}


@pytest.mark.parametrize(
    ("method", "fields", "said"),
    [
        (
            "student_only_sensor",
            {"video": "depth"},
            r"--video depth \(student_only_sensor has no network",
        ),
        ("student_only_sensor", {"overrides": {"data": {"frames": 4}}}, r"data.frames=… \(student_only_sensor has no"),
        ("student_only", {"overrides": {"data": {"series_length": 64}}}, r"series_length=… \(student_only has no"),
        (
            "teacher_only",
            {"teacher": "gaf_ft_native", "overrides": {"data": {"series_length": 64}}},
            r"series_length=… \(teacher_only \+ gaf_ft_native has no network that sees resampled series",
        ),
        (
            "student_only",
            {"overrides": {"semantics": {"name": "hash"}}},
            r"semantics=… \(student_only has no loss",
        ),
        (
            "hinton_random_teacher",
            {"overrides": {"teacher.train.epochs": 3}},
            "kd \\+ gaf_ft_random has no teacher that is trained",
        ),
        (
            "untrained",
            {"overrides": {"student.augment.noise": 1, "track.labels": 0}},
            "untrained has no student that is trained",
        ),
    ],
)
def test_what_has_no_effect_is_refused(method: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        refuse_idle(RunRequest(method, "motionsim", preset="smoke", **fields))


def test_a_loss_that_is_not_there_cannot_be_removed() -> None:
    for method, overrides in (("student_only", {"student.losses.st": None}), ("rkd", {"teacher.losses.rkd": None})):
        with pytest.raises(UsageError, match=r"=null \(.* has no loss"):
            refuse_idle(RunRequest(method, "motionsim", preset="smoke", overrides=overrides))
    refuse_idle(RunRequest("hinton", "motionsim", preset="smoke", overrides={"student.losses.st": None}))


@pytest.mark.parametrize("overrides", [{"student.losses.st.weight": 0.5}, {"student.losses.rkd": {}}])
def test_a_loss_that_nobody_teaches_is_refused_before_anything_is_loaded(overrides: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="student_only has no teacher, and student") as refused:
        refuse_idle(RunRequest("student_only", "motionsim", preset="smoke", overrides=overrides))
    assert f"--set {'.'.join(next(iter(overrides)).split('.')[:3])}=null" in str(refused.value.hint)


def test_a_loss_that_reads_a_frozen_classifier_refuses_a_teacher_that_trains_along() -> None:
    with pytest.raises(UsageError, match="reads the classifier of a frozen teacher, and 'teacher' trains with the"):
        refuse_idle(RunRequest("srrl", "motionsim", preset="smoke", overrides={"teacher.train": "joint"}))
    refuse_idle(RunRequest("dml", "motionsim", preset="smoke"))


@pytest.mark.parametrize("term", ["srrl", "cat_kd", "sdd", "condrk", "comodo", "ofd"])
def test_a_teacher_that_trains_along_learns_by_no_loss_that_wants_a_frozen_partner(term: str) -> None:
    changes = [f"teacher.losses.{term}.weight=1"]
    with pytest.raises(UsageError, match=rf"teacher.losses.{term} .* and the student trains with 'teacher'") as caught:
        refuse_idle(RunRequest("dml", "motionsim", preset="smoke", overrides=changes))
    assert caught.value.hint == f"Do without the loss: --set teacher.losses.{term}=null"


@pytest.mark.parametrize(
    "term", ["condrk={weight: 1}", "comodo={weight: 1}", "ofd={weight: 1}", "crd={weight: 1, negatives: memory}"]
)
def test_a_loss_that_remembers_its_teacher_refuses_one_that_trains_along(term: str) -> None:
    own, joint = f"student.losses.{term}", "teacher.train=joint"
    with pytest.raises(UsageError, match="keeps what earlier steps saw of a frozen teacher, and 'teacher' trains with"):
        refuse_idle(RunRequest("kd", "motionsim", preset="smoke", overrides=[own, joint]))
    refuse_idle(RunRequest("kd", "motionsim", preset="smoke", overrides=[own]))
    refuse_idle(RunRequest("kd", "motionsim", preset="smoke", overrides=["student.losses.crd.weight=1", joint]))


def test_a_weight_below_zero_is_told() -> None:
    changes = {"student.losses.st.weight": -1, "teacher.losses.ce.weight": {"schedule": "linear", "to": -0.5}}
    recipe = RunRequest("hinton", "motionsim", preset="smoke", overrides=changes).recipe
    assert list(negative_weights(recipe)) == [
        "teacher.losses.ce.weight is below 0 (-0.5): the training makes this loss larger",
        "student.losses.st.weight is below 0 (-1): the training makes this loss larger",
    ]
    assert not list(negative_weights(RunRequest("sgm_ft", "motionsim", preset="smoke").recipe))


def test_sensors_of_a_network_that_sees_none_are_refused() -> None:
    with pytest.raises(UsageError, match="has no effect: the network sees video"):
        _ = RunRequest("rkd", "motionsim", preset="smoke", overrides=["student.sensors=[wrist]"]).recipe


def test_a_launcher_of_a_single_run_has_to_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--method", "rkd", "--dataset", "motionsim", "--preset", "smoke", "--launcher", "nonsense"])
    assert ended.value.code == UsageError.exit_code
    assert "launcher 'nonsense'" in capsys.readouterr().err.replace("\n", " ")


def test_a_grid_gives_the_view_to_those_that_see_video(tmp_path: Path) -> None:
    said: list[str] = []

    class Told(Reporter):
        def message(self, text: str) -> None:
            said.append(text)

    suite = Suite.model_validate(
        {"methods": ["student_only", "student_only_sensor", {"name": "teacher_only", "teacher": "imu_depth"}]}
        | {"datasets": ["motionsim"], "preset": "smoke"}
        | {"video": "depth", "set": {"data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}}}
    )
    plan = make_plan(suite, {"out": tmp_path, "device": "cpu"}, (), Told(), look_ahead=True)
    assert [planned.request.video for planned in plan.runs] == ["depth", None, None]
    left = "student_only_sensor, teacher_only + imu_depth"
    assert said == [f"--video depth is not applied to what sees no video or names its views: {left}"]
    with pytest.raises(UsageError, match="--video depth"):
        make_plan(suite.with_methods(["student_only_sensor"]), {"out": tmp_path, "device": "cpu"}, look_ahead=True)


def test_a_change_goes_to_those_that_use_it(tmp_path: Path) -> None:
    suite = Suite.model_validate(
        {"methods": ["hinton_raw", "hinton_random_teacher_raw"], "datasets": ["motionsim"], "preset": "smoke"}
    )
    plan = make_plan(suite, {"out": tmp_path, "device": "cpu"}, ["teacher.train.epochs=3"], look_ahead=True)
    teachers = [planned.run_spec.recipe.teacher for planned in plan.runs]
    assert [teacher.train.epochs for teacher in teachers if teacher is not None] == [3, 2]


def test_a_recipe_is_resolved_once_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resolved: list[str] = []
    whole = resolving.resolve

    def counting(*arguments: Any, **more: Any) -> Any:
        resolved.append(arguments[0])
        return whole(*arguments, **more)

    monkeypatch.setattr("kdbench.runs.request.resolve", counting)
    request = RunRequest("student_only", "motionsim", preset="smoke", device="cpu", overrides=WORLD, out=tmp_path)
    run_request(request, shown=False)
    assert resolved == ["student_only"]


def test_the_former_name_of_an_option_works_and_says_so(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="exclude_broken"), pytest.raises(UsageError, match="no such"):
        kdbench.run("no such", "motionsim", allow_broken=True, out=tmp_path)
