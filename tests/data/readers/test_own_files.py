"""One's own recordings, read by what a card says of them."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from own_folders import RATE, card, even, film, motion, phyphox, sensor_logger, write_card, write_folder

from kdbench.data.card import load_card
from kdbench.data.readers.base import Trial
from kdbench.data.readers.files.reader import FilesReader
from kdbench.data.roster import roster
from kdbench.data.store import source
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, UsageError

GONE = ("anna/wave_1.mp4", "ben/clap_2.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings, two of which lack a source; not to be changed."""
    return write_folder(tmp_path_factory.mktemp("own"), without=GONE)


def reader_of(folder: Path, content: dict | None = None) -> FilesReader:
    found = source.find(load_card(write_card(folder, card() if content is None else content)))
    assert found is not None
    assert isinstance(found.reader, FilesReader)
    return found.reader


def trial_of(reader: FilesReader, name: str) -> Trial:
    return next(trial for trial in reader.trials() if trial.id == name)


def one(tmp_path: Path, times: np.ndarray, content: dict | None = None, **options: float) -> tuple[FilesReader, Trial]:
    """A reader of one recording with samples at some times."""
    sensor_logger(tmp_path / "anna/wave_1.csv", "wave", times, **options)
    film(tmp_path / "anna/wave_1.mp4", "wave", 3.0)
    reader = reader_of(tmp_path, content)
    return reader, trial_of(reader, "anna_wave_1")


def seen(read: np.ndarray, seconds: float) -> np.ndarray:
    """What was felt at the centres of equal parts of some seconds."""
    return motion("wave", (np.arange(len(read)) + 0.5) / len(read) * seconds)


def test_trials_have_the_placeholders_for_columns_and_may_lack_a_source(folder: Path) -> None:
    reader = reader_of(folder)
    assert len(reader.trials()) == 12
    trial = trial_of(reader, "ben_clap_2")
    assert (trial.label, trial.columns) == (1, {"subject": "ben", "action": "clap", "n": 2})
    assert reader.lacks(trial) == {"accelerometer"}
    assert reader.lacks(trial_of(reader, "anna_wave_1")) == {"video:rgb"}
    counts = roster(source.Source(reader, folder, ("rgb",)))
    assert counts.total.having == {"accelerometer": 11, "video:rgb": 11}
    assert counts.total.whole == 10
    assert [row.whole for row in counts.rows] == [3, 3, 4]


def test_a_store_knows_who_has_what(folder: Path) -> None:
    data = open_dataset(str(write_card(folder, card())), frame_size=16, frames=4, progress=False)
    assert len(data) == 12
    assert data.lacks("ben_clap_2") == {"accelerometer"}
    assert data.lacks("anna_wave_1") == {"video"}
    assert data.series("ben_clap_2")["accelerometer"].shape == (0, 3)
    usable = data.having({"video"})
    assert len(usable) == 11
    assert usable.lacking == {"anna_wave_1": "no video"}
    with pytest.raises(DataError, match="anna_wave_1 of 'own' has no video"):
        usable.position("anna_wave_1")
    assert data.damaged() == []


def test_columns_go_by_their_names_whatever_their_order(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even())
    read = reader.read(trial, None, 4).series["accelerometer"]
    assert np.abs(read - seen(read, 2.99)).max() < 0.05


def test_phyphox_is_read_with_its_decimal_commas(tmp_path: Path) -> None:
    phyphox(tmp_path / "anna/wave_1.csv", "wave", even())
    film(tmp_path / "anna/wave_1.mp4", "wave", 3.0)
    axes = [f"Acceleration {axis} (m/s^2)" for axis in "xyz"]
    reader = reader_of(tmp_path, card(accelerometer={"columns": axes, "time": {"column": "Time (s)"}}))
    read = reader.read(reader.trials()[0], None, 4).series["accelerometer"]
    assert np.abs(read - seen(read, 2.99)).max() < 0.05


def test_uneven_rates_are_evened(tmp_path: Path) -> None:
    times = np.sort(np.random.default_rng(0).uniform(0, 3, 900))
    reader, trial = one(tmp_path, times)
    read = reader.read(trial, None, 4).series["accelerometer"]
    assert abs(len(read) - 3 * RATE) <= 2
    assert np.abs(read - seen(read, 3.0)).mean() < 0.05


def test_streams_of_one_clock_are_cut_to_what_all_cover(tmp_path: Path) -> None:
    # The phone began a second after the camera, and stopped half a second after it.
    reader, trial = one(tmp_path, 1.0 + even(2.5))
    recording = reader.read(trial, "rgb", 4)
    assert recording.seconds == pytest.approx(2.0, abs=0.03)
    assert len(recording.series["accelerometer"]) == pytest.approx(2.0 * RATE, abs=2)
    assert recording.clip is not None
    # A frame's grey is four times its number: 20 frames a second, at 1.25, 1.75, 2.25 and 2.75 s.
    numbers = np.median(recording.clip[..., 0].reshape(4, -1), axis=1) / 4
    np.testing.assert_allclose(numbers, [25, 35, 45, 50], atol=1.5)


def test_an_offset_moves_a_stream(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, 100.0 + even(), card(accelerometer={"offset_s": -100.0}))
    assert reader.read(trial, "rgb", 4).seconds == pytest.approx(3.0, abs=0.05)


def test_streams_without_a_common_time_are_refused_or_aligned_by_share(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, 100.0 + even())
    with pytest.raises(DataError, match=r"anna_wave_1: its streams have 0\.00 s in common") as caught:
        reader.read(trial, None, 4)
    assert "offset_s" in str(caught.value.hint)
    reader = reader_of(tmp_path, card(files={"overlap": {"otherwise": "share"}}))
    assert len(reader.read(trial, None, 4).series["accelerometer"]) == 3 * RATE
    assert reader.remarks() == [
        "times of streams jump or disagree, so they are aligned by their share of the length (1 trial: anna_wave_1)"
    ]


def test_g_and_another_rate_are_remarked_upon(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even(rate=100), scale=1 / 9.81)
    reader.read(trial, "rgb", 4)
    rate, unit = sorted(reader.remarks())
    assert rate.startswith("the accelerometer has 100 samples a second, the card says 50 (1 trial")
    assert unit.startswith("the accelerometer looks like g: its median size is 1.01, and the card says m/s²")


@pytest.mark.parametrize(("unit", "scale", "other"), [("m/s²", 9.81, "g"), ("g", 1 / 9.81**2, "m/s²")])
def test_units_that_were_converted_twice_are_remarked_upon(tmp_path: Path, unit: str, scale: float, other: str) -> None:
    sensors = {"accelerometer": {"axes": ["x", "y", "z"], "unit": unit, "rate_hz": RATE}}
    reader, trial = one(tmp_path, even(), card(sensors=sensors), scale=scale)
    reader.read(trial, "rgb", 4)
    (said,) = reader.remarks()
    assert said.startswith(f"the accelerometer looks like {other} that were converted twice: its median size is")


def test_a_video_of_another_rate_is_remarked_upon_and_chosen_by_time(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even())
    film(tmp_path / "anna/wave_1.mp4", "wave", 3.0, rate=40)
    recording = reader.read(trial, "rgb", 4)
    assert recording.seconds == pytest.approx(3.0, abs=0.05)
    assert reader.remarks() == ["the rgb video shows 40 frames a second, the card says 20 (1 trial: anna_wave_1)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time,seconds_elapsed,z,y,x\n", "it has no rows below the names"),
        ("", "it has no rows"),
        (
            "time,seconds_elapsed,z,y,x\n1,0.0,1,2,3\n2,0.1,1,nan,3\n",
            "1 row of 2 holds a value that is missing or NaN, the first of them number 2",
        ),
        ("time,seconds_elapsed,z,y,x\n1,0.0,1,2,3\n2,0.1,1,two,3\n", "line 3: the value in column 4 is not a number"),
        ("time,seconds_elapsed,z,y,x\n1,0.0,1,2,3\n2,0.1,1,2\n", "line 3 has 4 columns, not 5"),
        ("time,seconds,z,y,x\n1,0.0,1,2,3\n", "it has no column 'seconds_elapsed'; did you mean"),
    ],
)
def test_a_file_that_is_not_what_the_card_says_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = write_card(tmp_path, card())
    sensor_logger(tmp_path / "ben/wave_1.csv", "wave", even())
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna/wave_1.csv").write_text(content)
    film(tmp_path / "anna/wave_1.mp4", "wave", 3.0)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(path), video=None, progress=False)
    assert "trial anna_wave_1" in caught.value.message


def test_a_row_that_lacks_its_last_value_is_one_with_nan(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even(), card(accelerometer={"nan": "drop"}))
    path = tmp_path / reader.files(trial, None)[0]
    lines = path.read_text().splitlines()
    for place in (1, 5):
        lines[place] = lines[place].rpartition(",")[0] + ","
    path.write_text("\n".join(lines) + "\n")
    assert np.isfinite(reader.read(trial, None, 1).series["accelerometer"]).all()
    strict = reader_of(tmp_path)
    with pytest.raises(DataError, match=r"2 rows of \d+ hold a value that is missing or NaN"):
        strict.read(trial_of(strict, "anna_wave_1"), None, 1)


def test_rows_with_nan_may_be_dropped(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even(), card(accelerometer={"nan": "drop"}))
    path = tmp_path / "anna/wave_1.csv"
    lines = path.read_text().splitlines()
    lines[50] = ",".join([*lines[50].split(",")[:4], "nan"])
    path.write_text("\n".join(lines))
    read = reader.read(trial, None, 4).series["accelerometer"]
    assert np.isfinite(read).all()
    assert len(read) == 3 * RATE


def test_another_number_of_axes_is_refused(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even())
    (tmp_path / "anna/wave_1.csv").write_text("seconds_elapsed,a,b\n0,1,2\n0.02,1,2\n")
    with pytest.raises(DataError, match="it has 2 columns beside the time, the card has 3 axes"):
        reader.read(trial, None, 4)


def test_a_folder_without_any_pair_is_refused(tmp_path: Path) -> None:
    sensor_logger(tmp_path / "anna/wave_1.csv", "wave", even())
    film(tmp_path / "ben/wave_1.mp4", "wave", 1.0)
    with pytest.raises(DataError, match=r"no recording in .* has files of two sources") as caught:
        reader_of(tmp_path).trials()
    assert "accelerometer: anna/wave_1.csv; rgb: ben/wave_1.mp4" in caught.value.message


def test_a_value_that_is_no_class_is_named(tmp_path: Path) -> None:
    one(tmp_path, even())
    shutil.copytree(tmp_path / "anna", tmp_path / "ben")
    (tmp_path / "ben/wave_1.csv").rename(tmp_path / "ben/waev_1.csv")
    (tmp_path / "ben/wave_1.mp4").unlink()
    with pytest.raises(DataError, match=r"ben/waev_1.csv: 'waev' is no class of 'own'; did you mean 'wave'"):
        reader_of(tmp_path).trials()
    assert len(reader_of(tmp_path, card(files={"values": {"waev": "wave"}})).trials()) == 2


def test_joints_come_as_csv_or_npy_relative_to_the_body(tmp_path: Path) -> None:
    reader, trial = one(tmp_path, even())
    joints = np.random.default_rng(0).normal(size=(30, 3, 3)) + 5
    np.save(tmp_path / "anna/wave_1.npy", joints)
    content = card()
    content["skeletons"] = {"body": {"joints": ["hip", "neck", "hand"], "rate_hz": 10}}
    content["files"]["sources"]["body"] = {
        "path": "{subject}/{action}_{n:d}.npy", "centre": "hip", "torso": ["hip", "neck"]
    }  # fmt: skip
    reader = reader_of(tmp_path, content)
    read = reader.read_skeleton(trial, "body").series["body"].reshape(30, 3, 3)
    np.testing.assert_allclose(np.median(read[:, 0], axis=0), 0, atol=1e-6)
    assert np.median(np.linalg.norm(read[:, 0] - read[:, 1], axis=1)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerometer": {"path": "{subject}/{action}.csv"}}, "they have to agree"),
        ({"accelerometer": {"path": "../{subject}/{action}_{n}.csv"}}, "leads out of the data set's folder"),
        ({"accelerometer": {"path": "{subject}/{action}_{n:02d}.csv"}}, "takes at most :d"),
        ({"accelerometer": {"columns": ["x"]}}, "3 axes for 1 column"),
        ({"rgb": {"time": {"column": 0}}}, "time has no effect on .mp4 files"),
        ({"files": {"label": "activity"}}, "label = 'activity', expected one of"),
        ({"files": {"values": {"w": "waev"}}}, "'waev' is no class; did you mean 'wave'"),
        ({"accelerometer": {"clock": None, "offset_s": 2.0}}, "offset_s has no effect without a clock"),
        ({"sensors": {"watch": {"axes": ["x"], "unit": "g", "rate_hz": 5}}}, "unknown source 'accelerometer'"),
    ],
)
def test_a_card_that_does_not_fit_itself_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_card(write_card(tmp_path, card(**change)))


def test_the_reader_needs_files_and_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'files' is a reader") as caught:
        load_card("files")
    assert "kdbench data init" in str(caught.value.hint)
    content = yaml.safe_load(write_card(tmp_path, card()).read_text())
    del content["files"]
    with pytest.raises(UsageError, match="has no files:"):
        FilesReader(load_card(write_card(tmp_path, content)))


def test_a_file_that_appears_changes_the_store(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    path = str(write_card(own, card()))
    before = open_dataset(path, video=None, progress=False)
    sensor_logger(own / "ben/clap_2.csv", "clap", even())
    after = open_dataset(path, video=None, progress=False)
    assert before.lacks("ben_clap_2")
    assert not after.lacks("ben_clap_2")
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    "form", ["{:%Y-%m-%d %H:%M:%S.%f}", "{:%Y-%m-%dT%H:%M:%S.%f}+02:00", '"{:%Y-%m-%d %H:%M:%S.%f}"']
)
def test_dates_with_a_time_of_day_are_times(tmp_path: Path, form: str) -> None:
    noon = datetime.datetime(2026, 3, 1, 12)
    rows = [f"{form.format(noon + datetime.timedelta(seconds=t))},{t},0,9.81" for t in even(2.0)]
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna/wave_1.csv").write_text("\n".join(rows))
    film(tmp_path / "anna/wave_1.mp4", "wave", 3.0)
    content = card(accelerometer={"time": {"column": 0, "unit": "datetime"}, "clock": None})
    reader = reader_of(tmp_path, content)
    read = reader.read(reader.trials()[0], None, 4).series["accelerometer"]
    np.testing.assert_allclose(read[:, 0], (np.arange(100) + 0.5) / 100 * 2.0 - 0.01, atol=0.011)
