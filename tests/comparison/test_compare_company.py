"""The baseline and the controls: which pairs are tested, and why something to compare with is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_run, make_study

import kdbench
from kdbench.comparison.text_tables import text_tables
from kdbench.errors import UsageError


def _notes(found: kdbench.comparison.Comparison, table: int = 0) -> str:
    return " ".join([one for one in text_tables(found) if one.kind == "results"][table].notes)


def _control(root: Path, seeds: int, wrong: int = 30, **more: object) -> None:
    for seed in range(seeds):
        make_run(root, "hinton_random_teacher", seed, wrong=wrong, **more)


def test_methods_are_tested_against_the_student_alone(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 4, "rkd": 6, "at": 39}, seeds=3)
    found = kdbench.compare(tmp_path)
    assert list(zip(found.pairs["first"], found.pairs["second"], strict=True)) == [
        ("kd", "student_only"),
        ("rkd", "student_only"),
        ("at", "student_only"),
    ]
    assert "every method against student_only, Holm's correction over 3 pairs. All 6 pairs: --family all." in _notes(
        found
    )
    every = kdbench.compare(tmp_path, family="all")
    assert len(every.pairs) == 6
    assert "every method against every other, Holm's correction over all 6 pairs" in _notes(every)
    assert (every.methods["gain_p_holm"].dropna() >= found.methods["gain_p_holm"].dropna()).all()


def test_verdicts_do_not_depend_on_pairs_that_nobody_asked_about(tmp_path: Path) -> None:
    make_study(tmp_path / "two", {"student_only": 40, "kd": 4}, seeds=3)
    make_study(tmp_path / "many", {"student_only": 40, "kd": 4, "rkd": 39, "at": 38, "cc": 41, "pkt": 40}, seeds=3)
    few, many = (kdbench.compare(tmp_path / name).pairs.set_index("first").loc["kd"] for name in ("two", "many"))
    assert few["difference"] == many["difference"]
    assert few["verdict"] == many["verdict"]
    # Holm's correction over five pairs is all that the company adds, beside what it knows of seeds.
    assert many["p_holm"] == pytest.approx(5 * many["p"])


def test_another_baseline_can_be_asked_for(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2, "rkd": 39}, seeds=5)
    found = kdbench.compare(tmp_path, baseline="kd")
    methods = found.methods.set_index("method")
    assert set(methods["gain_over"].dropna()) == {"kd"}
    assert methods["verdict"].dropna().to_dict() == {"rkd": "worse", "student_only": "worse"}
    assert "every method against kd" in _notes(found)
    assert text_tables(found)[0].rows[0][5] == "the baseline"
    close = kdbench.compare(tmp_path, baseline="rkd").methods.set_index("method")
    assert close.loc["student_only", "verdict"] == "cannot be told apart"
    assert close.loc["kd", "verdict"] == "better"
    with pytest.raises(UsageError, match=r"unknown baseline among these runs 'hintn'; did you mean 'hinton'"):
        kdbench.compare(tmp_path, baseline="hintn")


def test_without_a_baseline_all_pairs_are_tested_and_it_is_said(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 2, "rkd": 39, "at": 20}, seeds=2)
    found = kdbench.compare(tmp_path)
    assert len(found.pairs) == 3
    assert "Holm's correction over all 3 pairs, since the student alone has no complete row here" in _notes(found)


def test_a_gain_is_tested_against_controls_in_a_family_of_its_own(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2, "rkd": 6}, seeds=5)
    _control(tmp_path, 5, wrong=38)
    found = kdbench.compare(tmp_path)
    assert found.pairs["family"].tolist() == ["tested"] * 3 + ["controls"] * 2
    assert found.methods.set_index("method").loc["kd", "verdict"] == "more than the controls"


def test_a_control_whose_seeds_are_incomplete_is_named(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=3)
    _control(tmp_path, 2)
    notes = _notes(kdbench.compare(tmp_path))
    assert "no gain is tested against a control: kd + gaf_ft_random lacks seed 2 (not run)" in notes
    assert "no control was run" not in notes


@pytest.mark.parametrize(
    "chosen",
    [{"exclude": ["*random*"]}, {"runs": ["student_only*", "kd-s*"]}],
)
def test_a_control_that_was_not_asked_for_is_named(tmp_path: Path, chosen: dict) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=2)
    _control(tmp_path, 2)
    notes = _notes(kdbench.compare(tmp_path, **chosen))
    assert "kd + gaf_ft_random was run (seeds 0, 1) and not asked for" in notes
    assert "no control was run" not in notes


def test_a_control_under_other_conditions_is_named_with_what_differs(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=2)
    _control(tmp_path, 2, train__epochs=3)
    notes = _notes(kdbench.compare(tmp_path))
    assert "kd + gaf_ft_random was run under other conditions: train.epochs (30 against 3)" in notes


def test_a_student_alone_that_is_incomplete_filtered_or_elsewhere_is_named(tmp_path: Path) -> None:
    make_study(tmp_path, {"kd": 2}, seeds=2)
    assert "the student alone was not run under these conditions" in _notes(kdbench.compare(tmp_path))
    make_run(tmp_path, "student_only", 0, wrong=20)
    assert "gains are not known, since student_only lacks seed 1 (not run)" in _notes(kdbench.compare(tmp_path))
    left = kdbench.compare(tmp_path, exclude=["student_only"])
    assert "gains are not known, since student_only was run (seed 0) and not asked for" in _notes(left)
    for folder in tmp_path.glob("student_only-*"):
        (folder / "run.json").unlink()
    make_run(tmp_path, "student_only", 0, precision="bf16", folder="other")
    assert "student_only was run under other conditions: precision (fp32 against bf16)" in _notes(
        kdbench.compare(tmp_path)
    )


def test_an_interrupted_control_is_no_missing_one(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=1)
    make_run(tmp_path, "hinton_random_teacher", 0, status="interrupted")
    assert "kd + gaf_ft_random lacks seed 0 (interrupted)" in _notes(kdbench.compare(tmp_path))
