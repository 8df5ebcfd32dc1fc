"""Files of phones' apps, given to a student as they are: read as its card reads them, or as is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from exports import ACCELEROMETER
from own_folders import RATE, card, even, motion, phyphox, sensor_logger, write_card

from kdbench.data.card import Card, load_card
from kdbench.data.readers.body import relative
from kdbench.data.readers.files.reader import FilesReader
from kdbench.errors import DataError, UsageError
from kdbench.export.describe import body_of, file_of
from kdbench.students.recordings import Recorded, read
from kdbench.students.schema import Body, SeriesFile, SeriesInput, TimeOf
from kdbench.students.series_file import Columns
from kdbench.students.student import check_recorded_rate, series_tensor, tensor_of

UNEVEN = np.sort(np.random.default_rng(0).uniform(0, 3, 150))
APP = "anna/wave_1.csv"


def the_card(folder: Path, **stream: Any) -> Card:
    """A card of a phone's files alone; no clock cuts them."""
    content = card(accelerometer={"clock": None, **stream})
    del content["views"], content["files"]["sources"]["rgb"]
    return load_card(write_card(folder, content))


def student_of(cards: Card) -> SeriesInput:
    """What a student of such a card sees."""
    known = {"unit": "m/s²", "typical_size": 10.0, "file": file_of(cards, "accelerometer"), "columns": None}
    return ACCELEROMETER.model_copy(update=known)


def trained_on(folder: Path, cards: Card) -> np.ndarray:
    """The one recording, as it is read for training."""
    reader = FilesReader(cards, folder)
    (trial,) = reader.trials()
    return reader.read(trial, None, 1).series["accelerometer"]


@pytest.mark.parametrize(
    "stream",
    [
        {},
        {"time": {"column": "time", "unit": "ns"}},
        {"time": None, "columns": ["x", "y", "z"]},
        {"time": None, "columns": [-1, -2, 2], "factor": 0.5, "skip_rows": 3},
    ],
)
def test_a_file_is_read_as_it_was_for_training(stream: dict[str, Any], tmp_path: Path) -> None:
    sensor_logger(tmp_path / APP, "wave", UNEVEN)
    cards = the_card(tmp_path, **stream)
    entry = student_of(cards)
    assert SeriesFile.model_validate_json(entry.file.model_dump_json()) == entry.file
    recorded = read(tmp_path / APP, entry)
    np.testing.assert_array_equal(recorded.array, trained_on(tmp_path, cards))
    assert recorded.evened == (stream.get("time", True) is not None)


def test_phyphox_with_decimal_commas_is_read_by_its_names(tmp_path: Path) -> None:
    phyphox(tmp_path / APP, "wave", even())
    names = [f"Acceleration {axis} (m/s^2)" for axis in "xyz"]
    cards = the_card(tmp_path, columns=names, time={"column": "Time (s)"})
    recorded = read(tmp_path / APP, student_of(cards))
    np.testing.assert_array_equal(recorded.array, trained_on(tmp_path, cards))
    np.testing.assert_allclose(recorded.array, motion("wave", even()), atol=1e-4)


def test_another_app_is_refused_with_what_would_read_it(tmp_path: Path) -> None:
    sensor_logger(tmp_path / APP, "wave", even())
    entry = student_of(the_card(tmp_path))
    phyphox(tmp_path / "other.csv", "wave", even())
    with pytest.raises(DataError, match=r"no column 'seconds_elapsed'.* looked for columns x, y, z, and times") as told:
        read(tmp_path / "other.csv", entry)
    assert told.value.hint == (
        "Say which columns are meant: --columns "
        "'Acceleration x (m/s^2),Acceleration y (m/s^2),Acceleration z (m/s^2)' --time-column 'Time (s)'"
    )
    said = Columns(tuple(f"Acceleration {axis} (m/s^2)" for axis in "xyz"), "Time (s)")
    np.testing.assert_allclose(
        read(tmp_path / "other.csv", entry, columns=said).array, read(tmp_path / APP, entry).array, atol=1e-4
    )
    doubled = read(tmp_path / "other.csv", entry, columns=Columns(said.axes, said.time, 2.0))
    np.testing.assert_allclose(doubled.array, 2 * read(tmp_path / APP, entry).array, atol=1e-4)


def test_axes_go_by_their_names_where_no_card_describes_files(tmp_path: Path) -> None:
    sensor_logger(tmp_path / APP, "wave", even())
    recorded = read(tmp_path / APP, ACCELEROMETER)
    np.testing.assert_allclose(recorded.array, motion("wave", even()), atol=1e-4)
    assert recorded.rate_hz == pytest.approx(RATE)
    # In the order of the axes' names, not of the columns.
    (tmp_path / "four.csv").write_text("seconds,z,y,x\n" + "".join(f"{k / 50},3,2,1\n" for k in range(50)))
    np.testing.assert_allclose(read(tmp_path / "four.csv", ACCELEROMETER).array, [[1, 2, 3]] * 50)


def test_a_column_of_another_name_takes_no_axis_place(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k / 50},2,1\n" for k in range(50))
    (tmp_path / "two.csv").write_text("time,seconds_elapsed,y,x\n" + rows)
    with pytest.raises(DataError, match="it has no column 'z'") as told:
        read(tmp_path / "two.csv", student_of(the_card(tmp_path)))
    assert told.value.hint == "The student needs x, y and z; this file has y and x."
    (tmp_path / "bare.csv").write_text("y,x\n1,2\n1,2\n")
    with pytest.raises(DataError, match=r"it has 2 columns \(y, x\), and the accelerometer has 3 axes") as told:
        read(tmp_path / "bare.csv", ACCELEROMETER)
    assert told.value.hint == "The student needs x, y and z; this file has y and x."


def test_other_columns_than_axes_are_said_by_what_the_student_takes(tmp_path: Path) -> None:
    (tmp_path / "four.csv").write_text("seconds_elapsed,a,b,c,d\n" + "".join(f"{k / 50},1,2,3,4\n" for k in range(50)))
    with pytest.raises(DataError, match="it has 4 columns beside the time, the student takes 3 axes"):
        read(tmp_path / "four.csv", student_of(the_card(tmp_path)))


def test_a_missing_value_is_refused_with_what_its_reader_can_do(tmp_path: Path) -> None:
    rows = "".join(f"{k / 50},1,{'' if k == 7 else 2},3\n" for k in range(50))
    (tmp_path / "gap.csv").write_text("seconds_elapsed,x,y,z\n" + rows)
    with pytest.raises(DataError, match=r"1 row of 50 holds a value that is missing or NaN, .* number 8\n") as told:
        read(tmp_path / "gap.csv", student_of(the_card(tmp_path)))
    assert told.value.hint == "Fill or delete those rows."


@pytest.mark.parametrize(
    ("said", "error", "what"),
    [
        (Columns(("x", "y")), DataError, "2 columns are named, and the accelerometer has 3 axes"),
        (Columns(("x", "y", "q")), DataError, "it has no column 'q'"),
        (Columns(time="no"), DataError, "it has no column 'no'"),
        (Columns(time="z"), DataError, "its column z holds no times that grow"),
        (Columns(("x", "y", 9)), DataError, r"it has 5 columns, and no column 9 \(from 0\)"),
    ],
)
def test_columns_that_are_not_there_are_named(said: Columns, error: type, what: str, tmp_path: Path) -> None:
    sensor_logger(tmp_path / APP, "wave", even())
    with pytest.raises(error, match=what):
        read(tmp_path / APP, student_of(the_card(tmp_path)), columns=said)


def test_what_is_said_of_columns_is_for_text(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", motion("wave", even()))
    with pytest.raises(UsageError, match="are said of text files alone"):
        read(tmp_path / "a.npy", ACCELEROMETER, columns=Columns(("x", "y", "z")))
    with pytest.raises(UsageError, match="factor = 0: expected a number other than 0"):
        Columns(factor=0)


@pytest.mark.parametrize(("rate", "fits"), [(40, True), (100, False)])
def test_times_even_a_file_and_leave_no_room_for_another_rate(rate: float, fits: bool, tmp_path: Path) -> None:
    sensor_logger(tmp_path / APP, "wave", even(rate=rate))
    entry = student_of(the_card(tmp_path))
    recorded = read(tmp_path / APP, entry)
    assert len(recorded.array) == 150
    with pytest.raises(UsageError, match=f"say that it has {rate}(.0)? samples a second: another rate has no effect"):
        check_recorded_rate(entry, recorded, 50, any_rate=False)
    if fits:
        check_recorded_rate(entry, recorded, None, any_rate=False)
    else:
        with pytest.raises(DataError, match="is recorded at 100 Hz"):
            check_recorded_rate(entry, recorded, None, any_rate=False)
    check_recorded_rate(entry, recorded, None, any_rate=True)


def test_joints_are_made_relative_to_the_body_as_for_training(tmp_path: Path) -> None:
    joints = np.random.default_rng(1).normal(size=(40, 3, 3)) + 5
    (tmp_path / "anna").mkdir()
    sensor_logger(tmp_path / "acc" / APP, "wave", even())
    np.savetxt(tmp_path / "anna/wave_1.csv", joints.reshape(40, 9), delimiter=",")
    content = card(files={"sources": {"skeleton": {"path": "{subject}/{action}_{n:d}.csv"}}})
    content["files"]["sources"]["skeleton"] |= {"centre": "hip", "torso": ["hip", "neck"]}
    content["files"]["sources"]["accelerometer"] = {"path": "acc/{subject}/{action}_{n:d}.csv"}
    del content["views"]
    content["skeletons"] = {"skeleton": {"joints": ["hip", "neck", "head"], "rate_hz": 30, "bones": [["hip", "neck"]]}}
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(content))
    cards = load_card(path)
    entry = ACCELEROMETER.model_copy(
        update={
            "source": "skeleton",
            "axes": [f"{joint} {axis}" for joint in ("hip", "neck", "head") for axis in "xyz"],
            "rate_hz": 30.0,
            "typical_size": None,
            "samples": 40,
            "file": file_of(cards, "skeleton"),
            "body": body_of(cards, "skeleton"),
        }
    )
    assert entry.body == Body(centre=0, torso=[0, 1])
    reader = FilesReader(cards, tmp_path)
    trained = reader.read_skeleton(reader.trials()[0], "skeleton").series["skeleton"]
    shown = tensor_of(entry, read(tmp_path / "anna/wave_1.csv", entry), [])
    np.testing.assert_allclose(shown, trained.T, atol=1e-5)
    assert abs(shown).max() < 5
    # What is relative already stays.
    np.testing.assert_allclose(series_tensor(entry, trained, []), trained.T, atol=1e-5)
    with pytest.raises(DataError, match="the torso has no length"):
        tensor_of(entry, Recorded(np.zeros((9, 9), np.float32)), [])


def test_without_a_centre_or_a_torso_joints_stay() -> None:
    series = np.arange(18, dtype=np.float32).reshape(2, 9)
    assert relative(series, None, None) is series


def test_a_time_of_another_unit_is_known_by_its_values(tmp_path: Path) -> None:
    sensor_logger(tmp_path / APP, "wave", even())
    entry = student_of(the_card(tmp_path))
    by_nanoseconds = read(tmp_path / APP, entry, columns=Columns(time="time"))
    np.testing.assert_allclose(by_nanoseconds.array, read(tmp_path / APP, entry).array, atol=1e-3)
    assert entry.file is not None
    assert entry.file.time == TimeOf(column="seconds_elapsed")
