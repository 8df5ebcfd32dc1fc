"""Rank correlations between tables of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import make_run

import kdbench
from kdbench.comparison.formats import render
from kdbench.comparison.text_tables import text_tables
from kdbench.recipes.track import Track

WRONG = {"kd": 2, "rkd": 6, "sp": 10, "crd": 14, "hint": 18, "at": 22}
FEW = {"track": Track(labels=1).model_dump(), "split": "few"}


def both(root: Path, fewer: dict[str, int]) -> None:
    for method, wrong in {"student_only": 30, **WRONG}.items():
        make_run(root, method, wrong=wrong)
        make_run(root, method, wrong=fewer.get(method, 40), **FEW)


def test_the_order_of_two_tracks_is_compared_over_their_methods(tmp_path: Path) -> None:
    both(tmp_path, {**WRONG, "hint": 22, "at": 18})
    found = kdbench.compare(tmp_path)
    (one,) = found.agreements
    assert one.differs == "track"
    # The student alone is last in both, and no method.
    assert one.ranks.methods == 6
    assert one.ranks.spearman == pytest.approx(1 - 12 / 210)
    (sheet,) = text_tables(found, {"agreement"})
    assert sheet.rows[0][1:3] == ("track", "6")
    assert sheet.rows[0][3].startswith("+0.94 [+0.")
    assert any("1 labelled trial per class" in note for note in sheet.notes)
    assert json.loads(render(found, "json"))["agreements"][0]["spearman"] == pytest.approx(1 - 12 / 210)


@pytest.mark.parametrize(
    ("differs", "changed"),
    [
        ("protocol", {"protocol": "cross_subject_swapped", "split": "swapped"}),
        ("tuning", {"tuning": {"trials": 20, "sampler": "tpe"}}),
    ],
)
def test_another_protocol_and_tuned_settings_are_compared_too(
    tmp_path: Path, differs: str, changed: dict[str, object]
) -> None:
    for place, method in enumerate(WRONG):
        make_run(tmp_path, method, wrong=4 * place + 2)
        make_run(tmp_path, method, wrong=30 - 4 * place, **changed)
    (one,) = kdbench.compare(tmp_path).agreements
    assert one.differs == differs
    assert one.ranks.methods == 6
    assert one.ranks.spearman == pytest.approx(-1)


def test_tables_that_differ_in_more_than_one_thing_are_not_compared(tmp_path: Path) -> None:
    for method, wrong in WRONG.items():
        make_run(tmp_path, method, wrong=wrong)
        make_run(tmp_path, method, wrong=wrong, protocol="subject_specific", **FEW)
        make_run(tmp_path, method, wrong=wrong, preset="smoke")
    assert kdbench.compare(tmp_path).agreements == ()


def test_too_few_methods_have_no_order(tmp_path: Path) -> None:
    both(tmp_path, WRONG)
    assert kdbench.compare(tmp_path, methods=["kd", "rkd", "sp", "crd", "hint"]).agreements == ()
