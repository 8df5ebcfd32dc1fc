"""Tracks as recipes and commands name them: what is refused, and what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import WORLD

from kdbench.cli.tracks import settings
from kdbench.data.tracks import Supervision
from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.recipes.track import Track, words_of
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run


@pytest.mark.parametrize(
    ("track", "slug", "words"),
    [
        (Track(), "", ""),
        (Track(labels=1), "labels1", "1 labelled trial per class, teacher uses all labels"),
        (
            Track(labels=4, teacher_labels="same"),
            "labels4_same",
            "4 labelled trials per class, teacher uses the same labels",
        ),
        (
            Track(labels=0),
            "labels0",
            "transfer alone: no labels, linear probe of the frozen embedding, teacher uses all labels",
        ),
        (Track(pairs=0.25), "pairs0.25", "25 % of the training trials have sensors, teacher learns from these"),
    ],
)
def test_a_track_has_words_for_tables_and_for_folders(track: Track, slug: str, words: str) -> None:
    assert (track.slug, track.words) == (slug, words)
    assert words_of({"track": track.model_dump()}) == words_of({f"track.{k}": v for k, v in track}) == words


def test_conditions_without_a_track_and_with_a_strange_one() -> None:
    assert words_of({"preset": "small"}) == ""
    assert words_of({"track": {"labels": "some"}}) == "unknown track {'labels': 'some'}"


@pytest.mark.parametrize(
    ("size", "share", "quota"), [(16, 0.06, 4), (16, 0.5, 8), (16, 0.99, 15), (2, 0.01, 1), (2, 0.9, 1), (3, 0.1, 1)]
)
def test_a_batch_has_its_quota_and_room_for_others(size: int, share: float, quota: int) -> None:
    assert Track(labels=1).quota_of(size, share) == quota


def test_the_whole_training_part_is_not_written_so_that_runs_keep_their_names() -> None:
    assert "track" not in resolve("hinton", "smoke", ["track.labels=all", "track.quota=0.5"]).model_dump()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (["track.labels=1", "track.pairs=0.5"], "labels = 1 and pairs = 0.5 cannot be combined"),
        (["track.teacher_labels=same"], r"--labels 1"),
        (["track.labels=1", "student.train.batch_size=1"], "take at least 2"),
        (["track.pairs=0"], "track.pairs"),
        (["track.labels=1", "track.teacher_steps=whole"], "teacher_steps = whole says nothing"),
        (["track.labels=few"], "track.labels"),
    ],
)
def test_settings_that_make_no_track_are_refused(changes: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        resolve("hinton", "smoke", changes)


def test_a_student_that_sees_sensors_cannot_go_without_them() -> None:
    with pytest.raises(UsageError, match="this student sees sensors: take a method with a video"):
        resolve("hinton_sensor", "smoke", ["track.pairs=0.5"])


def supervision(method: str, dataset: str, *changes: str) -> Supervision:
    return context_for(
        RunRequest(method, dataset, preset="smoke", device="cpu", overrides=changes)
    ).run_spec.supervision


def test_a_data_set_that_does_not_tell_its_subjects_has_no_label_track() -> None:
    with pytest.raises(UsageError, match="'basic_motions' does not say who performs a trial") as error:
        supervision("hinton_sensor", "basic_motions", "track.labels=1")
    assert "--labels all" in str(error.value)


def test_a_protocol_whose_subjects_have_too_few_trials_is_named() -> None:
    # Two of the four subjects train, three trials per class each.
    with pytest.raises(UsageError, match="has 6 training trials of 2 subjects under protocol") as error:
        supervision("hinton", "motionsim", *WORLD, "track.labels=7")
    # Six of each class are all labels, which is another track.
    assert error.value.hint == "Label fewer of each class: --labels 5; or all of them: --labels all"
    supervision("hinton", "motionsim", *WORLD, "track.labels=5")


def test_options_are_settings_of_the_track() -> None:
    assert settings(None, None, None) == []
    assert settings("all", "all", "1") == ["track.labels=all", "track.teacher_labels=all", "track.pairs=1.0"]
    assert settings("0", None, None) == ["track.labels=0"]
    assert settings("2", "same", None) == ["track.labels=2", "track.teacher_labels=same"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("some", None, None), "cannot read --labels some"),
        (("-1", None, None), "cannot read --labels -1"),
        ((None, "most", None), "unknown value of --teacher-labels 'most'"),
        ((None, None, "25%"), "--pairs 25% is not a share of the training trials"),
        ((None, None, "0"), "--pairs 0 is not a share of the training trials"),
        ((None, None, "1.5"), "--pairs 1.5 is not a share of the training trials"),
    ],
)
def test_options_that_cannot_be_read(given: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        settings(*given)


def test_a_run_in_a_track_has_the_same_numbers_twice(tmp_path: Path) -> None:
    changes = [*WORLD, "track.labels=1"]
    first, second = (
        run("student_only", "motionsim", preset="smoke", device="cpu", out=tmp_path / name, overrides=changes)
        for name in "ab"
    )
    assert first.predictions().equals(second.predictions())
