"""Mean ranks over tables: what is a block, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run
from scipy import stats

import kdbench
from kdbench.comparison.formats import render
from kdbench.comparison.pictures import pictures
from kdbench.comparison.text_tables import text_tables

WRONG = {"student_only": 8, "kd": 5, "rkd": 1}


def fold(root: Path, subject: int, methods: dict[str, int] = WRONG, **changed: str) -> None:
    """Every method on one subject, trained for it alone."""
    trials = [f"a{a}_s{subject}_t{t}" for a in range(1, 5) for t in range(1, 6)]
    for method, wrong in methods.items():
        changes = {"protocol": f"loso_{subject}", "split": f"without-{subject}", **changed}
        make_run(root, method, folder=f"{method}-{len(list(root.glob('*')))}", trials=trials, wrong=wrong, **changes)


@pytest.mark.slow
def test_folds_of_six_subjects_are_ranked_as_by_scipy(tmp_path: Path) -> None:
    for subject in range(1, 7):
        fold(tmp_path, subject, WRONG if subject < 6 else {"student_only": 1, "kd": 5, "rkd": 8})
    found = kdbench.compare(tmp_path)
    (ranking,) = found.rankings
    assert len(ranking.blocks) == ranking.ranks.blocks == 6
    scores = np.array([[20 - WRONG[m]] * 5 + [20 - last] for m, last in zip(WRONG, (1, 5, 8), strict=True)])
    reference = stats.friedmanchisquare(*scores)
    assert (ranking.ranks.statistic, ranking.ranks.p) == pytest.approx(tuple(reference))
    assert dict(zip(ranking.ranks.methods, ranking.ranks.mean_ranks, strict=True)) == pytest.approx(
        {"rkd": 8 / 6, "kd": 2, "student_only": 16 / 6}
    )
    sheet = next(
        sheet for sheet in text_tables(found) if sheet.title == "Mean ranks over 6 blocks that share no subject"
    )
    assert "each with networks of its own" in sheet.caption
    assert [row[0] for row in sheet.rows] == ["rkd", "kd", "student_only"]
    assert [one.name for one in pictures(found)][-1] == "critical_difference1"
    assert json.loads(render(found, "json"))["rankings"][0]["blocks"] == 6


def test_five_folds_are_too_few(tmp_path: Path) -> None:
    for subject in range(1, 6):
        fold(tmp_path, subject)
    assert kdbench.compare(tmp_path).rankings == ()


def test_six_subjects_of_the_same_networks_are_no_blocks(tmp_path: Path) -> None:
    trials = [f"a{a}_s{s}_t{t}" for a in range(1, 5) for s in range(1, 7) for t in range(1, 6)]
    for method, wrong in WRONG.items():
        make_run(tmp_path, method, trials=trials, wrong=wrong)
    assert kdbench.compare(tmp_path).rankings == ()


def test_a_table_of_subjects_that_other_blocks_test_is_none_of_them(tmp_path: Path) -> None:
    for subject in range(1, 7):
        fold(tmp_path, subject)
    for method, wrong in WRONG.items():
        make_run(tmp_path, method, wrong=wrong)
    (ranking,) = kdbench.compare(tmp_path).rankings
    assert {title.split(" · ")[1] for _, title in ranking.blocks} == {f"loso_{subject}" for subject in range(1, 7)}


def test_blocks_are_of_equal_conditions_and_common_methods(tmp_path: Path) -> None:
    for subject in range(1, 6):
        fold(tmp_path, subject)
    fold(tmp_path, 6, precision="bf16")
    assert kdbench.compare(tmp_path).rankings == ()
    fold(tmp_path, 7, {"student_only": 8, "kd": 5, "at": 1})
    assert kdbench.compare(tmp_path).rankings == ()
    fold(tmp_path, 8, WRONG | {"at": 3})
    (ranking,) = kdbench.compare(tmp_path, methods=list(WRONG)).rankings
    assert ranking.ranks.blocks == 6


@pytest.mark.slow
def test_long_names_lie_within_the_diagram(tmp_path: Path) -> None:
    for subject in range(1, 7):
        fold(tmp_path, subject, {f"{'long_name_' * 6}{number}": number for number in range(1, 16)})
    figure = pictures(kdbench.compare(tmp_path))[-1].figure
    figure.draw_without_rendering()
    texts = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(texts) > 30
    assert min(box.x0 for box in texts) >= 0
    assert max(box.x1 for box in texts) <= figure.bbox.width
