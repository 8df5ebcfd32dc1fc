"""The picture of accuracy over the number of labels per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run, make_study, network

import kdbench
from kdbench.comparison.label_tracks import LabelTracks, label_tracks
from kdbench.comparison.pictures import pictures
from kdbench.errors import UsageError
from kdbench.plotting.label_curve import label_curve
from kdbench.recipes.track import Track

RANDOM = network({"ce": {"weight": 1.0}}, "sensors", weights="random")
WRONG = {
    0: {"kd": 30, "rkd": 40},
    1: {"student_only": 45, "kd": 14, "rkd": 32, "crd": 36},
    4: {"student_only": 24, "kd": 11},
    "all": {"student_only": 12, "kd": 10, "rkd": 12, "sp": 18},
}


def given(labels: Any, **more: Any) -> dict[str, Any]:
    return {} if labels == "all" else {"track": Track(labels=labels, **more).model_dump()}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for labels, wrong in WRONG.items():
        make_study(root, wrong, **given(labels))
        for seed in range(3):
            make_run(root, "random", seed, wrong=60, teacher=RANDOM, **given(labels))
    for seed in range(3):
        make_run(root, "untrained", seed, wrong=62, change={"teacher": None}, **given(0))
    return root


@pytest.fixture(scope="module")
def tracks(study: Path) -> LabelTracks:
    (found,) = label_tracks(kdbench.compare(study).tables)
    return found


def test_tables_of_one_place_stand_side_by_side_the_fewest_labels_first(tracks: LabelTracks) -> None:
    assert [track.labels for track in tracks.tracks] == [0, 1, 4, "all"]
    assert tracks.place == "utd_mhad · cross_subject · small"


def test_a_method_is_a_line_with_its_means_and_what_it_is_measured_against_is_dashed(tracks: LabelTracks) -> None:
    lines, hidden = tracks.lines()
    assert [line.name for line in lines] == ["kd", "rkd", "student_only", "random (control)", "untrained"]
    # Methods of one track alone are no line: crd and sp.
    assert hidden == 2
    axes = label_curve(tracks).axes[0]
    drawn = {line.get_label(): line for line in axes.get_lines() if not str(line.get_label()).startswith("_")}
    assert [drawn[line.name].get_linestyle() for line in lines] == ["-", "-", "--", "--", "--"]
    # 14, 15 and 16 of 80 trials are wrong with one label per class, 11, 12 and 13 with four, 10, 11 and 12 with all.
    heights = np.asarray(drawn["kd"].get_ydata(), dtype=float)
    assert heights == pytest.approx([100 - 1500 / 80, 100 - 1200 / 80, 100 - 1100 / 80])
    # Where a track has no result, the line is broken.
    assert np.isnan(np.asarray(drawn["rkd"].get_ydata(), dtype=float)).tolist() == [False, True, False]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0\n(linear probe)", "1", "4", "all"]


def test_methods_of_tables_that_share_one_are_compared_by_name(study: Path) -> None:
    """The untrained network stands beside kd without labels, and the student alone beside kd with some."""
    found = kdbench.compare(study, methods=["kd", "student_only", "untrained"])
    assert sorted(sorted(row.method for row in table.rows) for table in found.tables) == [
        ["kd", "student_only"],
        ["kd", "student_only"],
        ["kd", "student_only"],
        ["kd", "untrained"],
    ]
    with pytest.raises(UsageError, match="'untrained' was not run under the conditions of student_only"):
        kdbench.compare(study, methods=["student_only", "untrained"])


def test_the_picture_stands_with_the_others_and_has_the_same_bytes_twice(tmp_path: Path) -> None:
    for labels in (1, 4):
        make_study(tmp_path, {"student_only": 20, "kd": 10}, seeds=2, **given(labels))
    first, second = (
        next(picture for picture in pictures(kdbench.compare(tmp_path)) if picture.name.startswith("label_curve"))
        for _ in "ab"
    )
    assert first.name == "label_curve1_utd_mhad_cross_subject_small"
    assert first.svg() == second.svg()


def test_one_track_makes_no_curve(tmp_path: Path) -> None:
    make_study(tmp_path, WRONG[1], **given(1))
    assert label_tracks(kdbench.compare(tmp_path).tables) == []


def test_tracks_under_unlike_conditions_make_no_curve(tmp_path: Path) -> None:
    make_study(tmp_path, WRONG[1], **given(1))
    make_study(tmp_path, WRONG[4], train__epochs=5, **given(4))
    assert label_tracks(kdbench.compare(tmp_path).tables) == []


def test_teachers_with_fewer_labels_have_a_curve_of_their_own(tmp_path: Path) -> None:
    for labels in (1, 4, "all"):
        make_study(tmp_path, WRONG[labels], **given(labels))
    for labels in (1, 4):
        make_study(tmp_path, WRONG[labels], **given(labels, teacher_labels="same"))
    found = label_tracks(kdbench.compare(tmp_path).tables)
    assert [[track.teacher_labels for track in each.tracks] for each in found] == [["all"] * 3, ["same", "same", "all"]]
