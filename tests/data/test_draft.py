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
from own_folders import (
    RATE,
    even,
    film,
    motion,
    phyphox,
    phyphox_export,
    sensor_logger,
    sensor_logger_export,
    trials,
    write_folder,
)
from typer.testing import CliRunner

from kdbench.cli import app
from kdbench.data.card import load_card
from kdbench.data.draft.card import draft
from kdbench.data.draft.contents import look, rate_of
from kdbench.data.draft.doubts import Answers
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
    (folder / "preview.png").write_bytes(b"drawn before")
    again = init(folder, "--no-preview", "--force")
    assert again.exit_code == 0
    assert "passed over" not in again.output


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


@pytest.mark.parametrize("mark", [";,", ",.", "\t,"])
def test_phyphox_exports_a_folder_a_recording(tmp_path: Path, mark: str) -> None:
    for subject, action, number in trials():
        phyphox_export(tmp_path / f"{subject}_{action}_{number}", action, even(), mark=mark)
    told = init(tmp_path, "--no-preview")
    assert told.exit_code == 0, told.exception
    assert "passed over 24 files: anna_clap_1/meta/device.csv" in told.output
    card = load_card(tmp_path / "card.yaml")
    assert card.files is not None
    (stream,) = card.files.sources.values()
    assert stream.path == "{subject}_{action}_{n:d}/Raw Data.csv"
    assert card.sensors["acceleration" if "acceleration" in card.sensors else "accelerometer"].unit == "m/s²"
    assert card.class_names == ("clap", "wave")
    read = reader_of(tmp_path)
    assert len(read.trials()) == 12
    (series,) = read.read(read.trials()[0], None, 1).series.values()
    np.testing.assert_allclose(series, motion("clap", even()), atol=1e-3)


def test_phyphox_exports_several_sensors_beside_each_other(tmp_path: Path) -> None:
    for turn, (subject, action, number) in enumerate(trials()):
        for file in ("Accelerometer", "Gyroscope"):
            folder = tmp_path / f"{subject}_{action}_{number} 2026-05-01 10-22-{turn:02d}"
            phyphox_export(folder, action, even(), file=file)
    made = draft(tmp_path, NOTHING)
    assert made.doubts == ()
    assert {name: stream["path"] for name, stream in made.content["files"]["sources"].items()} == {
        "accelerometer": "{subject}_{action}_{n:d} 2026-05-01 10-22-*/Accelerometer.csv",
        "gyroscope": "{subject}_{action}_{n:d} 2026-05-01 10-22-*/Gyroscope.csv",
    }
    assert made.content["sensors"]["gyroscope"]["unit"] == "rad/s"


def test_sensor_logger_adds_date_and_time_to_the_name_of_a_recording(tmp_path: Path) -> None:
    for turn, (subject, action, number) in enumerate(trials()):
        folder = tmp_path / f"{subject}_{action}_{number}-2026-05-{1 + turn % 3:02d}_10-{turn:02d}-{33 + turn}"
        sensor_logger_export(folder, action, even())
    made = draft(tmp_path, Answers(units={"gyroscope": "rad/s", "heartrate": "1/min"}))
    assert made.doubts == ()
    where = "{subject}_{action}_{n:d}-2026-05-*_10-*-*"
    assert {name: stream["path"] for name, stream in made.content["files"]["sources"].items()} == {
        "accelerometer": f"{where}/Accelerometer.csv",
        "gyroscope": f"{where}/Gyroscope.csv",
        "heartrate": f"{where}/HeartRate.csv",
    }
    assert made.content["sensors"]["heartrate"]["axes"] == ["bpm"]
    assert {Path(path).name for path in made.passed_over} == {"Annotation.csv", "Metadata.csv", "Pedometer.csv"}
    assert init(tmp_path, "--yes", "--no-preview").exit_code == 0
    read = reader_of(tmp_path)
    assert len(read.trials()) == 12
    assert {trial.columns["subject"] for trial in read.trials()} == {"anna", "ben", "cleo"}
    assert not any(read.lacks(trial) for trial in read.trials())


def test_the_turn_of_a_phone_is_a_whole_quaternion(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for subject, action, number in trials():
        turns = draw.normal(size=(150, 7))
        turns[:, :4] /= np.linalg.norm(turns[:, :4], axis=1, keepdims=True)
        rows = [",".join(map(str, (time, *turn))) for time, turn in zip(even(), turns, strict=True)]
        folder = tmp_path / f"{subject}_{action}_{number}"
        folder.mkdir()
        (folder / "Orientation.csv").write_text("\n".join(["seconds_elapsed,qz,qy,qx,qw,roll,pitch,yaw", *rows]) + "\n")
    told = init(tmp_path, "--no-preview")
    assert "w, x, y, z at 50 Hz, times in 'seconds_elapsed'" in told.output
    made = draft(tmp_path, NOTHING)
    assert made.doubts == ()
    assert made.content["sensors"]["orientation"] == {"axes": ["w", "x", "y", "z"], "unit": "1", "rate_hz": 50.0}
    assert made.content["files"]["sources"]["orientation"]["columns"] == ["qw", "qx", "qy", "qz"]


MARKS = ((0.1, "Wave"), (2.7, "clap"), (5.2, ""), (5.4, "wave"), (6.3, "Stop"))


def noted(folder: Path, *, marks: Any = MARKS, names: str = "{person}-2026-05-0{day}_10-2{day}-33") -> None:
    """A recording a person, in which it was noted on the phone what begins."""
    for day, person in enumerate(("anna", "ben", "cleo"), start=1):
        sensor_logger_export(folder / names.format(person=person, day=day), "wave", even(6.5), marks=marks)


@pytest.mark.parametrize("width", [4, 3])
def test_what_was_noted_in_sensor_logger_makes_windows(tmp_path: Path, width: int) -> None:
    noted(tmp_path)
    # The app of 2023 (1.15) writes no `millisecond_press_duration`.
    for path in tmp_path.glob("*/Annotation.csv"):
        path.write_text("".join(",".join(line.split(",")[:width]) + "\n" for line in path.read_text().splitlines()))
    told = init(tmp_path, "--no-preview", "--yes")
    assert told.exit_code == 0, told.exception
    assert "labels of 2 s windows, one every 1 s, each until the next" in told.output
    assert "In which unit is the gyroscope? rad/s" in told.output
    card = load_card(tmp_path / "card.yaml")
    assert card.class_names == ("Wave", "clap")
    assert card.files is not None
    assert card.files.windows is not None
    assert card.files.windows.annotations == "{subject}-2026-05-*_10-*-33/Annotation.csv"
    found = [(trial.columns["start_ms"], trial.label) for trial in reader_of(tmp_path).trials()]
    # From 0.1 to 2.7 s it is waved, and from there to 5.2 s clapped.
    assert found == [(0, 0), (3000, 1)] * 3


def test_a_label_that_was_noted_in_one_recording_alone_is_a_class(tmp_path: Path) -> None:
    noted(tmp_path)
    for number in range(4):
        marks = [*MARKS[:2], (5.2, "jump" if number == 1 else "")]
        sensor_logger_export(tmp_path / f"dora{number}-2026-05-09_10-0{number}-33", "wave", even(6.5), marks=marks)
    assert [entry["name"] for entry in draft(tmp_path, NOTHING).content["classes"]] == ["Wave", "clap", "jump"]


@pytest.mark.parametrize(
    ("marks", "names"),
    [
        (MARKS, "{person}_walk_{day}-2026-05-0{day}_10-2{day}-33"),
        (((0.2, "begin"),), "{person}_{day}-2026-05-0{day}_10-2{day}-33"),
    ],
)
def test_notes_are_passed_over_where_they_do_not_tell_what_is_done(tmp_path: Path, marks: Any, names: str) -> None:
    noted(tmp_path, marks=marks, names=names)
    noted(tmp_path, marks=marks, names=names.replace("walk", "run"))
    made = draft(tmp_path, Answers(label="anna" if "walk" not in names else None))
    assert "windows" not in made.content["files"]
    assert "Annotation.csv" in {Path(path).name for path in made.passed_over}


def paired_names(folder: Path, video: str) -> None:
    """A phone's files by who did what, and videos that are called otherwise."""
    for turn, (subject, action, number) in enumerate(trials()):
        sensor_logger(folder / "acc" / f"{subject}_{action}_{number}.csv", action, even(1.0))
        called = video.format(turn=turn, subject=subject, action=action, number=number)
        if turn < 8:
            film(folder / "vid" / called, action, 0.2)


@pytest.mark.parametrize(
    "video",
    ["IMG_{turn}.mp4", "GX01{turn:04d}.MP4", "VID_20260501_1022{turn:02d}.mp4", "2026-05-0{turn} 10.22.33.mov"],
)
def test_videos_that_no_recording_has_are_not_dropped_silently(tmp_path: Path, video: str) -> None:
    paired_names(tmp_path, video)
    ending = Path(video).suffix.lower()
    refused = init(tmp_path, "--no-preview")
    assert refused.exit_code != 0
    assert isinstance(refused.exception, UsageError)
    first = video.format(turn=0)
    assert refused.exception.message == f"8 videos (vid/{first}, …) do not say which recording they belong to"
    assert refused.exception.hint == f"Name them as the CSV files are: anna_clap_1{ending}. Or leave them out: --yes"
    assert not (tmp_path / "card.yaml").exists()
    told = init(tmp_path, "--no-preview", "--yes")
    assert told.exit_code == 0
    assert f"left out: 8 videos (vid/{first}, …) do not say which recording they belong to." in told.output
    assert "student_only_sensor" in told.output


def test_videos_with_other_words_than_the_recordings_are_no_pairs(tmp_path: Path) -> None:
    paired_names(tmp_path, "take_{turn}_{turn}_{turn}.mp4")
    refused = init(tmp_path, "--no-preview")
    assert "8 videos (vid/take_0_0_0.mp4, …) do not say which recording they belong to" in str(refused.exception)


@pytest.mark.parametrize("video", ["{subject}_{action}_{number}.MP4", "{subject}_{action}_0{number}.mp4"])
def test_videos_of_some_persons_are_of_the_recordings(tmp_path: Path, video: str) -> None:
    paired_names(tmp_path, video)
    for path in (tmp_path / "vid").glob("ben*"):
        path.unlink()
    told = init(tmp_path, "--no-preview")
    assert told.exit_code == 0, told.exception
    read = reader_of(tmp_path)
    assert sum("video:rgb" not in read.lacks(trial) for trial in read.trials()) == 4


def test_annotations_that_no_recording_has_are_not_dropped_silently(tmp_path: Path) -> None:
    for subject in ("anna", "ben", "cleo"):
        sensor_logger(tmp_path / f"{subject}_walk.csv", "wave", even(6.5))
        sensor_logger(tmp_path / f"{subject}_run.csv", "wave", even(6.5))
        (tmp_path / f"{len(subject)}_labels.csv").write_text("start,end,label\n0,3,wave\n3.5,6,clap\n")
    refused = init(tmp_path, "--no-preview")
    assert isinstance(refused.exception, UsageError)
    assert "annotation files (3_labels.csv, …) do not say which recording they belong to" in refused.exception.message
    assert "anna_run_labels.csv" in str(refused.exception.hint)


@pytest.mark.parametrize("names", [["anna_walk_0", "anna_walk_1", "anna_walk_2"], ["anna_walk", "ben_walk"]])
def test_one_action_alone_is_told(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        sensor_logger(tmp_path / "acc" / f"{name}.csv", "wave", even(1.0))
    refused = init(tmp_path, "--yes", "--no-preview")
    assert isinstance(refused.exception, UsageError)
    assert "tell of one action alone, 'walk', and a data set has two or more" in refused.exception.message
    assert "Add recordings of another action" in str(refused.exception.hint)
    answered = init(tmp_path, "--yes", "--no-preview", "--label", "walk")
    assert isinstance(answered.exception, UsageError)
    assert "--label walk: all names have this part, so that it tells nothing apart" in answered.exception.message
    assert "two actions or more" in str(answered.exception.hint)


def test_names_without_any_action_are_told(tmp_path: Path) -> None:
    for number in range(3):
        sensor_logger(tmp_path / f"anna_{number}.csv", "wave", even(1.0))
    refused = init(tmp_path, "--yes", "--no-preview")
    assert isinstance(refused.exception, UsageError)
    assert "looks like what is done; parts that differ are 0, 1, 2" in refused.exception.message
    assert "--label WORD" in str(refused.exception.hint)


def annotated(folder: Path, *names: str) -> None:
    for name in names:
        sensor_logger(folder / f"{name}.csv", "wave", even(6.5))
        (folder / f"{name}_labels.csv").write_text("start,end,label\n0,3,wave\n3.5,6,clap\n")


def test_the_only_word_of_annotated_recordings_is_the_person(tmp_path: Path) -> None:
    annotated(tmp_path, "anna/day1", "ben/day1", "cleo/day1")
    told = init(tmp_path, "--no-preview")
    assert told.exit_code == 0, told.exception
    assert "by the same person" not in told.output
    card = load_card(tmp_path / "card.yaml")
    assert card.files is not None
    assert card.files.sources["accelerometer"].path == "{subject}/day1.csv"
    assert "protocol cross_subject: Subject cleo tests" in told.output
    assert {trial.columns["subject"] for trial in reader_of(tmp_path).trials()} == {"anna", "ben", "cleo"}


def test_sessions_of_annotated_recordings_are_asked_about(tmp_path: Path) -> None:
    annotated(tmp_path, "anna/morning", "anna/noon", "anna/evening")
    refused = init(tmp_path, "--no-preview")
    assert isinstance(refused.exception, UsageError)
    assert "Which part of a name such as anna/evening.csv says who performs?" in refused.exception.message
    told = init(tmp_path, "--no-preview", "--subject", "anna")
    assert told.exit_code == 0, told.exception
    assert "session noon tests, the others train; all by the same person" in told.output
    assert "guessed" not in told.output
    useless = init(tmp_path, "--no-preview", "--force", "--label", "noon")
    assert "--label noon has no effect: the annotations tell what is done" in str(useless.exception)


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


def test_archives_as_apps_hand_them_out_are_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "anna_wave_1-2026-05-01_10-22-33.zip").write_bytes(b"PK")
    refused = init(tmp_path)
    assert isinstance(refused.exception, DataError)
    assert "Unpack archives first" in str(refused.exception.hint)
    assert "anna_wave_1-2026-05-01_10-22-33.zip" in str(refused.exception.hint)


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
    code, said = at_terminal(tmp_path, b"gamma\n")
    assert code == 0, said
    assert "says what is done, the class? [" in said
    assert load_card(tmp_path / "card.yaml").class_names == ("alpha", "beta", "gamma")


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"\n", 2)])
def test_a_terminal_is_asked_whether_to_go_on_without_videos(tmp_path: Path, answer: bytes, code: int) -> None:
    paired_names(tmp_path, "IMG_{turn}.mp4")
    ended, said = at_terminal(tmp_path, answer)
    assert "Name them as the CSV files are: anna_clap_1.mp4.\nGo on without them? [y/N]" in said
    assert ended == code, said
    assert (tmp_path / "card.yaml").exists() == (code == 0)


def at_terminal(folder: Path, typed: bytes) -> tuple[int, str]:
    """Exit code and words of `data init`, asked at a terminal where something is typed."""
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "kdbench", "data", "init", str(folder), "--no-preview"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asked:
        os.write(keyboard, typed)
        said, _ = asked.communicate(timeout=60)
    os.close(keyboard)
    os.close(terminal)
    return asked.returncode, said


def test_a_folder_is_named_by_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("my kitchen")
    write_folder(folder, without=tuple(f"{subject}/{action}_{n}.mp4" for subject, action, n in trials()))
    with pytest.raises(UsageError, match="is a folder, and a data set is named by its card") as bare:
        load_card(str(folder))
    assert bare.value.hint == "Let kdbench write one: kdbench data init 'my kitchen'"
    assert init(folder, "--no-preview").exit_code == 0
    with pytest.raises(UsageError) as caught:
        load_card(str(folder))
    assert caught.value.hint == "Name it: 'my kitchen/card.yaml'"
    for name in ("", "x" * 5000, "~nobody-of-that-name"):
        with pytest.raises(UsageError, match="unknown data set"):
            load_card(name)
    (tmp_path / "motionsim").mkdir()
    assert load_card("motionsim").name == "motionsim"
