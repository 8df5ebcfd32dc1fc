"""Windows of continuous recordings, labelled by annotation files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_folders import RATE, even, film, sensor_logger, write_card
from own_folders import card as whole_card

from kdbench.data.card import load_card
from kdbench.data.readers.files import windows
from kdbench.data.readers.files.reader import FilesReader
from kdbench.data.recorded import Windows
from kdbench.data.splits import split
from kdbench.data.store import source
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, UsageError

ANNOTATIONS = "start,end,label\n0,3,wave\n3.5,6,clap\n"


def card(**changes: Any) -> dict[str, Any]:
    """Windows of two seconds, one every second, of a recording a subject."""
    content = whole_card(
        accelerometer={"path": "{subject}/{session}.csv"},
        rgb={"path": "{subject}/{session}.mp4"},
        files={
            "label": None,
            "windows": {"seconds": 2, "stride_s": 0.5, "annotations": "{subject}/{session}_labels.csv"},
        },
    )
    content["protocols"]["cross_subject"] = {
        "test": {"subject": ["cleo"]},
        "validation": {"where": {"subject": ["ben"]}},
        "disjoint": ["subject"],
    }
    return content | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, subject in enumerate(("anna", "ben", "cleo")):
        sensor_logger(tmp_path / subject / "day.csv", "wave", even(6.5), scale=1 + number / 100)
        film(tmp_path / subject / "day.mp4", "wave", 6.5)
        (tmp_path / subject / "day_labels.csv").write_text(ANNOTATIONS)
    return tmp_path


def reader_of(folder: Path, content: dict[str, Any] | None = None) -> FilesReader:
    found = source.find(load_card(write_card(folder, content or card())))
    assert found is not None
    assert isinstance(found.reader, FilesReader)
    return found.reader


def test_windows_lie_where_one_annotation_covers_them(folder: Path) -> None:
    found = [trial for trial in reader_of(folder).trials() if trial.columns["subject"] == "anna"]
    assert [(trial.columns["start_ms"], trial.label) for trial in found] == [
        (0, 0), (500, 0), (1000, 0), (3500, 1), (4000, 1)
    ]  # fmt: skip
    assert found[0].id == "anna_day_0ms"
    assert found[0].columns["recording"] == "anna_day"


def test_a_window_is_cut_from_every_stream_by_time(folder: Path) -> None:
    reader = reader_of(folder)
    trial = next(trial for trial in reader.trials() if trial.id == "anna_day_1000ms")
    recording = reader.read(trial, "rgb", 4)
    assert recording.series["accelerometer"].shape == (2 * RATE, 3)
    assert recording.seconds == 2.0
    assert recording.clip is not None
    # A frame's grey is four times its number, at 20 frames a second: 1.25, 1.75, 2.25 and 2.75 s.
    numbers = np.median(recording.clip[..., 0].reshape(4, -1), axis=1) / 4
    np.testing.assert_allclose(numbers, [25, 35, 45, 50], atol=1.5)


def test_no_recording_is_divided_between_parts(folder: Path) -> None:
    data = open_dataset(str(write_card(folder, card())), video=None, progress=False)
    parts = split(data.card, data.index, "cross_subject", validation=True, seed=0)
    recordings = {name: set(data.table(trials)["recording"]) for name, trials in parts.parts().items()}
    assert recordings == {"train": {"anna_day"}, "validation": {"ben_day"}, "test": {"cleo_day"}}


@pytest.mark.parametrize(
    "rule",
    [
        {"test": {"subject": ["cleo"]}, "validation": {"where": {"subject": ["ben"]}}},
        {"test": {"subject": ["cleo"]}, "validation": {"share": 0.2}, "disjoint": ["subject"]},
    ],
)
def test_a_protocol_that_may_divide_a_recording_is_refused(folder: Path, rule: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="windows of one recording may lie in two parts"):
        load_card(write_card(folder, card(protocols={"mine": rule})))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "start,end,label\n0,2,wave\n4,6,clap\n1.5,3,clap\n",
            r"lines 2 and 4 overlap: 0 to 2 s \(wave\) and 1\.5 to 3",
        ),
        ("start,end,label\n2,1,wave\n", "line 2: it ends at 1 s and begins at 2 s"),
        ("start,stop,label\n1,2,wave\n", "it has no column 'end'"),
        ("1,2\n", "expected the columns start, end and label"),
        ("start,end,label\n100,102,wave\n", "they have no second in common"),
        ("start,end,label\n0,2,jump\n", "'jump' is no class of 'own'"),
        ("start,end,label\n", "it has no rows"),
    ],
)
def test_an_annotation_file_that_is_wrong_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "ben/day_labels.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        reader_of(folder).trials()
    assert "ben/day_labels.csv" in caught.value.message
    assert caught.value.hint


def of_moments(folder: Path, content: str) -> FilesReader:
    """Windows by what ben's phone noted while it recorded."""
    path = folder / "ben/day_labels.csv"
    path.write_text(f"time,seconds_elapsed,text,millisecond_press_duration\n{content}")
    for subject in ("anna", "cleo"):
        (folder / subject / "day_labels.csv").write_text(path.read_text())
    changed = card()
    changed["files"]["windows"]["moments"] = {"stop": ["pause"]}
    return reader_of(folder, changed)


def test_what_begins_at_a_moment_lasts_until_the_next(folder: Path) -> None:
    reader = of_moments(folder, '4,4.0,"clap",80\n0,0.0,wave,90\n3,3,Pause,80\n')
    found = [(trial.columns["start_ms"], trial.label) for trial in reader.trials() if trial.columns["subject"] == "ben"]
    # The last one lasts to the end of the recording, at 6.48 s.
    assert found == [(0, 0), (500, 0), (1000, 0), (4000, 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,1.0,wave,80\n2,2.5,clap,80\n3,1.0,clap,70\n", "lines 2 and 4 are of one moment, 1 s"),
        ("1,1.0,jump,80\n", "'jump' is no class of 'own'"),
        ("1,soon,wave,80\n", "line 2: the value in column 2 is not a number: 'soon'"),
        ("1,60,wave,80\n", "they have no second in common"),
        ("", "it has no rows"),
    ],
)
def test_moments_that_are_wrong_are_named(folder: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        of_moments(folder, content).trials()
    assert "day_labels.csv" in caught.value.message
    assert caught.value.hint


def test_stretches_in_the_place_of_moments_are_named(folder: Path) -> None:
    changed = card()
    changed["files"]["windows"]["moments"] = {}
    with pytest.raises(DataError, match="it has no column 'seconds_elapsed'"):
        reader_of(folder, changed).trials()


def test_a_recording_without_annotations_is_named(folder: Path) -> None:
    (folder / "ben/day_labels.csv").unlink()
    with pytest.raises(DataError, match="the recording ben_day has no annotations"):
        reader_of(folder).trials()


def test_annotations_that_meet_do_not_overlap() -> None:
    entries = windows.entries_of(b"0;1,5;wave\n1,5;3;clap\n")
    assert [(entry.start, entry.end, entry.label) for entry in entries] == [(0, 1.5, "wave"), (1.5, 3, "clap")]
    rule = Windows(seconds=1, stride_s=0.25, annotations="{a}.csv", share=0.75)
    found = [(begin, entry.label) for begin, entry in windows.windows(rule, entries, 0, 3)]
    assert found == [(0, "wave"), (0.25, "wave"), (0.5, "wave"), (0.75, "wave")] + [
        (begin, "clap") for begin in (1.25, 1.5, 1.75, 2.0)
    ]
