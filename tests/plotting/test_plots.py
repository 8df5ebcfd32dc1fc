"""Pictures are drawn for whatever a run may record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from kdbench.plotting.class_matrices import confusion_matrix
from kdbench.plotting.curves import learning_curves
from kdbench.plotting.style import accuracy_end


def _record(phase: str, epoch: int, **changes: Any) -> dict[str, Any]:
    record = {
        "phase": phase,
        "epoch": epoch,
        "loss": 1.0 / epoch,
        "terms": {"ce": 1.0 / epoch, "sgm": 0.0},
        "grad_norms": {"ce": 0.1, "sgm": 0.0},
        "accuracy": 0.5,
        "validation": None,
    }
    return record | changes


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        assert np.asarray(image.convert("L")).std() > 1
        return image.size


def test_both_phases_stand_one_above_the_other(tmp_path: Path) -> None:
    teacher, student = [_record("teacher", e) for e in (1, 2)], [_record("student", e) for e in (1, 2, 3)]
    learning_curves(student, tmp_path / "one.png", title="student_only")
    learning_curves([*student, *teacher], tmp_path / "two.png", title="sgm_ft")
    one, two = _size(tmp_path / "one.png"), _size(tmp_path / "two.png")
    assert one[0] == two[0]
    assert one[1] < two[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"grad_norms": {}},
        {"grad_norms": {"ce": None, "sgm": 0.2}},
        {"terms": {"ce": 0.0, "sgm": 0.0}, "loss": 0.0},
        {"terms": {"ce": -1.0, "sgm": 1.0}},
        {"validation": {"accuracy": 0.4, "macro_f1": 0.3}},
    ],
)
def test_missing_zero_and_negative_values_are_drawn(changes: dict[str, Any], tmp_path: Path) -> None:
    learning_curves([_record("student", 1, **changes)], tmp_path / "x.png", title="x")
    _size(tmp_path / "x.png")


def test_no_epoch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        learning_curves([], tmp_path / "x.png", title="x")


def test_the_confusion_matrix_grows_with_the_classes(tmp_path: Path) -> None:
    for count in (3, 27):
        names = [f"right hand draw circle (counter clockwise) {i}" for i in range(count)]
        confusion_matrix(np.eye(count), names, tmp_path / f"{count}.png", title="sgm_ft on utd_mhad " * 4)
    sizes = [_size(tmp_path / f"{count}.png")[0] for count in (3, 27)]
    assert sizes == sorted(set(sizes))


def test_names_may_look_like_formulas(tmp_path: Path) -> None:
    confusion_matrix(np.eye(2), ["$\\frac$", "$_$"], tmp_path / "x.png", title="$^$")
    _size(tmp_path / "x.png")


def test_the_users_settings_of_matplotlib_stay(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    learning_curves([_record("student", 1)], tmp_path / "x.png", title="x")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("values", "end"), [([10, 27], 30), ([5.0], 10), ([0, float("nan")], 10), ([79], 100), ([], 100)]
)
def test_an_axis_of_accuracy_ends_where_its_values_do(values: list[float], end: float) -> None:
    assert accuracy_end(values) == end
