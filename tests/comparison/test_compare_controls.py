"""What a gain is called beside the controls'."""

from __future__ import annotations

from pathlib import Path

from made_runs import make_run, make_study, network

import kdbench
from kdbench.comparison.controls import GainVerdict, control_of
from kdbench.comparison.text_tables import text_tables

RANDOM = network({"ce": {"weight": 1.0}}, "sensors", weights="random")
MISPAIRED = network({"ce": {"weight": 1.0}, "st": {"weight": 1.0}}, pairing="shuffled")
PLAIN = network({"ce": {"weight": 1.0}}, "sensors")


def readings(root: Path) -> dict[str, str]:
    methods = kdbench.compare(root).methods
    return dict(zip(methods["method"], methods["verdict"], strict=True))


def with_control(root: Path, wrong: int, seeds: int = 5) -> None:
    for seed in range(seeds):
        make_run(root, "any_name", seed, wrong=wrong, teacher=RANDOM)


def test_controls_are_known_by_their_recipes() -> None:
    student = network({"ce": {"weight": 1.0}})
    assert control_of({"teacher": RANDOM, "student": student}) == "teacher with random weights"
    assert control_of({"teacher": PLAIN, "student": MISPAIRED}) == "teacher paired with the wrong trials"
    assert control_of({"teacher": None, "student": MISPAIRED}) == "series paired with the wrong trials"
    assert control_of({"name": "hinton_random_teacher", "teacher": PLAIN, "student": student}) is None
    assert control_of({"teacher": None, "student": student}) is None


def test_a_gain_that_a_control_reaches_is_regularisation(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 10}, seeds=5)
    with_control(tmp_path, wrong=4)
    found = readings(tmp_path)
    assert found["kd"] == GainVerdict.REGULARISATION == "regularisation, not knowledge"
    assert found["any_name"] == GainVerdict.CONTROL
    notes = " ".join(text_tables(kdbench.compare(tmp_path))[0].notes)
    assert "any_name: teacher with random weights" in notes
    assert "a gain that they reach too is regularisation, not knowledge" in notes


def test_a_gain_above_the_controls_is_more(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=5)
    with_control(tmp_path, wrong=39)
    assert readings(tmp_path)["kd"] == GainVerdict.KNOWLEDGE


def test_a_control_that_cannot_be_told_apart_leaves_it_open(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 4}, seeds=5)
    with_control(tmp_path, wrong=7)
    assert readings(tmp_path)["kd"] == GainVerdict.OPEN


def test_without_a_control_a_gain_is_untested(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=5)
    assert readings(tmp_path)["kd"] == GainVerdict.UNTESTED
    assert any("no control was run" in note for note in text_tables(kdbench.compare(tmp_path))[0].notes)


def test_without_the_student_alone_there_is_no_gain(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 2, "rkd": 4})
    assert set(readings(tmp_path).values()) == {None}
    assert any("the student alone was not run" in note for note in text_tables(kdbench.compare(tmp_path))[0].notes)


def test_a_loss_is_called_one_and_no_difference_none(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 4, "kd": 60, "rkd": 4}, seeds=5)
    found = readings(tmp_path)
    assert found["kd"] == GainVerdict.LOSS
    assert found["rkd"] == GainVerdict.NONE


def test_a_gain_that_is_not_shown_is_none_even_where_a_control_has_more(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 12, "kd": 11}, seeds=5)
    with_control(tmp_path, wrong=10)
    assert readings(tmp_path)["kd"] == GainVerdict.NONE
