"""`kdbench data init`: a first card for folders as phones' apps and cameras leave them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_folders import RATE, even, motion, phyphox, sensor_logger, trials, write_folder
from typer.testing import CliRunner

from kdbench.cli import app
from kdbench.data.card import load_card
from kdbench.data.draft.card import Answers, draft
from kdbench.data.draft.contents import look, rate_of
from kdbench.data.readers.files.reader import FilesReader
from kdbench.data.store import source
from kdbench.errors import DataError, UsageError

NOTHING = Answers()


def init(folder: Path, *arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", "init", str(folder), *map(str, arguments)])


def reader_of(folder: Path) -> FilesReader:
    found = source.find(load_card(folder / "card.yaml"))
    assert found is not None
    assert isinstance(found.reader, FilesReader)
    return found.reader


@pytest.mark.slow
def test_a_folder_of_a_phone_and_a_camera_becomes_a_card(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "kitchen", without=("ben/clap_2.csv",))
    (folder / "notes.txt").write_text("Recorded on a rainy day")
    told = init(folder)
    assert told.exit_code == 0, told.exception
    assert "x, y, z in m/s² at 50 Hz, times in 'seconds_elapsed'" in told.output
    assert "48×48 at 20 frames a second" in told.output
    assert "passed over 1 file: notes.txt" in told.output
    assert (folder / "preview.png").read_bytes().startswith(b"\x89PNG")
    card = load_card(folder / "card.yaml")
    assert card.files is not None
    assert {name: stream.path for name, stream in card.files.sources.items()} == {
        "accelerometer": "{subject}/{action}_{n:d}.csv",
        "rgb": "{subject}/{action}_{n:d}.mp4",
    }
    assert card.class_names == ("clap", "wave")
    assert len(reader_of(folder).trials()) == 12
    command = told.output.partition("kdbench check ")[2].split()[0]
    assert CliRunner().invoke(app, ["check", command]).exit_code == 0


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "own")
    assert init(folder, "--no-preview").exit_code == 0
    (folder / "card.yaml").write_text("mine")
    refused = init(folder, "--no-preview")
    assert isinstance(refused.exception, UsageError)
    assert "--force" in str(refused.exception.hint)
    assert (folder / "card.yaml").read_text() == "mine"
    assert init(folder, "--no-preview", "--force").exit_code == 0


def test_sensor_logger_leaves_a_folder_a_recording(tmp_path: Path) -> None:
    for subject, action, number in trials():
        folder = tmp_path / f"{subject}_{action}_{number}"
        sensor_logger(folder / "TotalAcceleration.csv", action, even())
        sensor_logger(folder / "Gyroscope.csv", action, 0.004 + even(), scale=0.1)
        (folder / "Metadata.csv").write_text("version,device\n3,phone\n")
    content = draft(tmp_path, NOTHING).content
    sources = content["files"]["sources"]
    assert {name: stream["path"] for name, stream in sources.items()} == {
        "totalacceleration": "{subject}_{action}_{n:d}/TotalAcceleration.csv",
        "gyroscope": "{subject}_{action}_{n:d}/Gyroscope.csv",
    }
    # Both began with the recording: their times are of one clock.
    assert {stream["clock"] for stream in sources.values()} == {"recording"}
    assert content["sensors"]["totalacceleration"] == {"axes": ["x", "y", "z"], "unit": "m/s²", "rate_hz": 50.0}
    assert init(tmp_path, "--yes", "--no-preview").exit_code == 0
    read = reader_of(tmp_path)
    series = read.read(read.trials()[0], None, 1).series["totalacceleration"]
    expected = motion("clap", -0.006 + (np.arange(len(series)) + 0.5) / len(series) * 2.996)
    assert np.abs(series - expected).max() < 0.2


def test_phyphox_tells_units_in_its_names(tmp_path: Path) -> None:
    for subject, action, number in trials():
        phyphox(tmp_path / action / f"{subject} {number}.csv", action, even())
    made = draft(tmp_path, NOTHING)
    (stream,) = made.content["files"]["sources"].values()
    assert stream["path"] == "{action}/{subject} {n:d}.csv"
    assert stream["columns"] == [f"Acceleration {axis} (m/s^2)" for axis in "xyz"]
    assert stream["time"] == {"column": "Time (s)"}
    assert made.content["sensors"]["accelerometer"]["unit"] == "m/s²"
    assert made.doubts == ()


def test_numbers_behind_letters_are_told_apart(tmp_path: Path) -> None:
    for subject in (29, 30, 31):
        for action in (1, 2):
            for number in (1, 2):
                path = tmp_path / "acc/watch" / f"S{subject}A{action:02d}T{number:02d}.csv"
                sensor_logger(path, "wave", even())
    content = draft(tmp_path, NOTHING).content
    (stream,) = content["files"]["sources"].values()
    assert stream["path"] == "acc/watch/S{subject:d}A{action:d}T{n:d}.csv"
    assert content["files"]["values"] == {"1": "action 1", "2": "action 2"}


def test_annotations_make_windows(tmp_path: Path) -> None:
    for subject in ("anna", "ben", "cleo"):
        sensor_logger(tmp_path / subject / "day1.csv", "wave", even(6.5))
        sensor_logger(tmp_path / subject / "day2.csv", "wave", even(6.5))
        for day in (1, 2):
            (tmp_path / subject / f"day{day}_labels.csv").write_text("start,end,label\n0,3,wave\n3.5,6,clap\n")
    assert init(tmp_path, "--yes", "--no-preview").exit_code == 0
    card = load_card(tmp_path / "card.yaml")
    assert card.files is not None
    assert card.files.windows is not None
    assert card.files.windows.seconds == 2
    assert {trial.columns["start_ms"] for trial in reader_of(tmp_path).trials()} == {0, 1000, 4000}


def test_what_the_names_do_not_tell_is_asked_or_given(tmp_path: Path) -> None:
    for one in ("alpha", "beta", "gamma"):
        for two in ("red", "blue"):
            for number in (1, 2):
                sensor_logger(tmp_path / f"{one}_{two}_{number}.csv", "wave", even())
    refused = init(tmp_path, "--no-preview")
    assert isinstance(refused.exception, UsageError)
    assert "says what is done, the class?" in refused.exception.message
    assert "--label WORD" in str(refused.exception.hint)
    assert init(tmp_path, "--no-preview", "--label", "alpha", "--subject", "red").exit_code == 0
    assert load_card(tmp_path / "card.yaml").class_names == ("alpha", "beta", "gamma")
    wrong = init(tmp_path, "--no-preview", "--force", "--label", "green")
    assert "no name has this part; parts that differ are" in str(wrong.exception)


def test_a_rate_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    for subject, action, number in trials():
        path = tmp_path / subject / f"{action}_{number}.csv"
        path.parent.mkdir(exist_ok=True)
        np.savetxt(path, motion(action, even()), delimiter=",", header="x,y,z", comments="")
    refused = init(tmp_path, "--yes", "--no-preview")
    assert "--rate accelerometer=50" in str(refused.exception.hint)
    assert init(tmp_path, "--yes", "--no-preview", "--rate", "accelerometer=25").exit_code == 0
    assert load_card(tmp_path / "card.yaml").sensors["accelerometer"].rate_hz == 25
    odd = init(tmp_path, "--yes", "--no-preview", "--force", "--rate", "wrist=25")
    assert "there is no source 'wrist', expected one of accelerometer" in str(odd.exception)


def test_an_array_of_joints_is_a_skeleton(tmp_path: Path) -> None:
    for subject, action, number in trials():
        sensor_logger(tmp_path / f"{subject}_{action}_{number}.csv", action, even())
        np.save(tmp_path / f"{subject}_{action}_{number}.npy", np.random.default_rng(0).normal(size=(90, 17, 3)))
    content = draft(tmp_path, Answers(rates={"skeleton": 30})).content
    assert len(content["skeletons"]["skeleton"]["joints"]) == 17


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    (tmp_path / "read me.txt").write_text("nothing here")
    with pytest.raises(DataError, match="holds no recordings whose names tell them apart"):
        draft(tmp_path, NOTHING)


def test_one_recording_of_each_action_is_too_few(tmp_path: Path) -> None:
    for action in ("wave", "clap"):
        sensor_logger(tmp_path / f"{action}.csv", action, even())
    with pytest.raises(UsageError, match="nothing is left to test on"):
        draft(tmp_path, NOTHING)


@pytest.mark.parametrize(
    ("content", "time", "rate"),
    [
        (b"time,x,y,z\n0,0,0,1\n20,0,0,1\n40,0,0,1\n4000,0,0,1\n", {"column": "time", "unit": "ms"}, None),
        (b"2026-03-01 10:00:00.00,1,2,3\n2026-03-01 10:00:00.02,1,2,3\n", {"column": 0, "unit": "datetime"}, RATE),
        (b"t;ax;ay;az\n0,00;1,5;0;0\n0,02;1,5;0;0\n", {"column": "t"}, RATE),
        (b"x,y,z\n1,2,3\n1,2,3\n", None, None),
    ],
)
def test_times_are_found_whatever_they_are_called(content: bytes, time: dict[str, Any] | None, rate: float | None):
    found = look(content)
    assert found.time == time
    assert rate is None or found.rate_hz == rate
    assert len(found.parts[0].axes) == 3


def test_rates_are_stated_as_one_would() -> None:
    assert rate_of(np.arange(100) / 49.3) == 50
    assert rate_of(np.arange(100) / 37.123) == 37.1


def test_a_terminal_is_asked(tmp_path: Path) -> None:
    for one in ("alpha", "beta", "gamma"):
        for two in ("red", "blue"):
            for number in (1, 2):
                sensor_logger(tmp_path / f"{one}_{two}_{number}.csv", "wave", even())
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "kdbench", "data", "init", str(tmp_path), "--no-preview"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asked:
        os.write(keyboard, b"gamma\n")
        said, _ = asked.communicate(timeout=60)
    os.close(keyboard)
    os.close(terminal)
    assert asked.returncode == 0, said
    assert "says what is done, the class? [" in said
    assert load_card(tmp_path / "card.yaml").class_names == ("alpha", "beta", "gamma")
