"""Runs whose networks see series at their native lengths, some of them or all."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import WORLD, tiny

from kdbench.errors import UsageError
from kdbench.runs.context import context_for
from kdbench.runs.idle import idle_settings
from kdbench.runs.request import RunRequest
from kdbench.testing import check
from kdbench.testing.recipes import SUITE

SERIES = {"data": {"series_length": 32}}


def test_a_teacher_on_native_series_trains_and_teaches(tmp_path: Path) -> None:
    result = tiny("kd", tmp_path, teacher="gaf_ft_native")
    assert result.result["status"] == "finished"
    assert 0 < result.metrics["accuracy"] <= 1
    held = result.result["recipe"]["teacher"]["representation"]
    assert held["length"] == "native"


def test_what_a_network_sees_does_not_depend_on_the_others(tmp_path: Path) -> None:
    recipe = tmp_path / "both.yaml"
    recipe.write_text("extends: [kd, _sensor_student]\nteacher: gaf_ft_native\n")
    request = RunRequest(str(recipe), "motionsim", preset="smoke", overrides=WORLD, device="cpu")
    context = context_for(request)
    recipe_ = context.run_spec.recipe
    assert recipe_.teacher is not None
    assert recipe_.student is not None
    trials = context.split.train[:3]
    loader = context.loader(trials, recipe_.teacher, recipe_.student)
    assert {"native:accelerometer", "native:gyroscope", "accelerometer"} == set(loader.sensors)
    (batch,) = loader.batches([0, 1, 2], 3)
    lengths = [len(context.run_spec.dataset.series(trial)["accelerometer"]) for trial in trials]
    assert batch.raw("native:accelerometer").shape[2] == max(lengths)
    assert batch.raw("accelerometer").shape[2] == recipe_.data.series_length
    assert not list(idle_settings(recipe_, SERIES))


def test_its_batches_hold_what_they_name(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: kd\nteacher: gaf_ft_native\n")
    wanted = ("batches_hold_their_trials", "teacher_sees_the_students_trials", "needs_are_met")
    assert set(wanted) <= set(SUITE.names)
    report = check("method", str(recipe), only=wanted)
    assert report.passed, str(report)


def test_a_representation_that_takes_no_native_series_is_refused_with_those_that_do() -> None:
    overrides = [*WORLD, "teacher.representation.length=native"]
    request = RunRequest("kd", "motionsim", teacher="raw", preset="smoke", overrides=overrides, device="cpu")
    with pytest.raises(UsageError, match=r"unknown recipe key 'teacher\.representation\.length'") as refused:
        context_for(request)
    assert "length is a parameter of gaf." in str(refused.value.hint)
