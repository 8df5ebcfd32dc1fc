"""One clip per class on one sheet: chosen by a rule that is said, and refused where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import tiny
from PIL import Image

from kdbench.errors import UsageError
from kdbench.explanation.make import explain
from kdbench.plotting.actions import Action, draw_actions
from kdbench.runs.run import RunResult


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return tiny("student_only", tmp_path_factory.mktemp("runs"))


def test_the_first_right_trial_of_each_of_the_first_classes(alone: RunResult) -> None:
    first = explain(alone.folder, one_per_class=3, device="cpu")
    assert first.made == ("actions",)
    assert "Chosen by rule: the first 3 of 4 classes" in first.record["parts"]["actions"]["notes"][0]
    again = explain(alone.folder, one_per_class=3, device="cpu")
    assert again.kept == ("actions",)
    part = again.record["parts"]["actions"]
    table = alone.predictions().sort_values("trial")
    columns = sorted((name for name in table if name.startswith("logit_")), key=lambda name: int(name[6:]))
    right = table[columns].to_numpy().argmax(axis=1) == table["label"]
    for label, one in enumerate(part["numbers"]["actions"]):
        of_class = table["label"] == label
        rows = table[of_class & right] if (of_class & right).any() else table[of_class]
        assert (one["trial"], one["right"]) == (rows["trial"].iloc[0], bool((of_class & right).any()))
    with Image.open(again.folder / "gradcam_actions.png") as sheet:
        assert sheet.width > 1000
    assert "gradcam_actions.png" in again.page.read_text()
    named = explain(alone.folder, classes=[alone_class(alone, 3), alone_class(alone, 0)], device="cpu")
    assert named.made == ("actions",)
    assert "classes that were named" in named.record["parts"]["actions"]["notes"][0]
    assert [one["true"] for one in named.record["parts"]["actions"]["numbers"]["actions"]] == [
        alone_class(alone, 3),
        alone_class(alone, 0),
    ]


def alone_class(run: RunResult, label: int) -> str:
    return list(run.metrics["per_class_recall"])[label]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"one_per_class": 5}, "--one-per-class 5: the test part has trials of 4 classes"),
        ({"one_per_class": 0}, "--one-per-class 0: the test part has trials of 4 classes"),
        ({"classes": ["dancing"]}, "has no class 'dancing'"),
        ({"one_per_class": 2, "classes": ["dancing"]}, "--one-per-class and --class exclude each other"),
        ({"one_per_class": 2, "only": ["gradcam"]}, "on which --only has no effect"),
        ({"one_per_class": 2, "trials": ["a1_s1_t1"]}, "on which --trial has no effect"),
        ({"classes": ["dancing"], "against": "other"}, "--class makes one part alone, on which --against"),
    ],
)
def test_what_cannot_be_shown_is_refused(alone: RunResult, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        explain(alone.folder, device="cpu", **options)


def test_a_run_of_sensors_has_no_clip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="and no video, so there is no clip"):
        explain(tiny("teacher_only", tmp_path).folder, one_per_class=2, device="cpu")


def test_a_sheet_of_one_short_clip_that_is_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 255, (1, 2, 8, 8), dtype=np.uint8)
    action = Action("wave", "s1", "clap", clip, np.zeros((2, 4, 4)), 1.5)
    made = draw_actions([action], "A title", ["A rule."], tmp_path / "sheet.png")
    assert made.file == "sheet.png"
    with Image.open(tmp_path / "sheet.png") as sheet:
        sheet.verify()
