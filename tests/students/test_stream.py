"""Streams: windows that know no future, smoothed; cameras that go away; reports."""

from __future__ import annotations

import contextlib
import csv
import os
import pty
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import COLOUR, an_export, colour_file, depth_file, inertial_file
from PIL import Image
from recordings import write_video

import kdbench as library
from kdbench.data.readers import mat_file
from kdbench.data.readers.kinds import PersonDepth
from kdbench.data.readers.running import RunningPerson, percentiles
from kdbench.errors import DataError, RunFailed, UsageError
from kdbench.students.feeds import feeds_of
from kdbench.students.films import Camera, frames_of_file
from kdbench.students.incoming import Feed, Item, Played, Taken, items_of
from kdbench.students.report import Windows
from kdbench.students.stream import Stream, Watched
from kdbench.students.student import Student, clip_tensor

RATE = 30.0


@pytest.fixture(scope="module")
def student() -> Student:
    return library.load_student(an_export("student_only", "torch", causal=True).folder)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.moveaxis(mat_file.read(depth_file("a1_s2_t1").read_bytes(), "d_depth", (None, None, None)), -1, 0)


def person(count: int) -> np.ndarray:
    """Depth frames of a person of one depth who walks to the right."""
    made = np.zeros((count, 60, 80), np.uint16)
    for place in range(count):
        made[place, 10:50, 10 + place : 25 + place] = 2500 + 10 * (np.arange(15) % 3)
    return made


def test_at_the_end_of_a_recording_running_preprocessing_is_that_of_the_whole() -> None:
    kind, made = PersonDepth(), person(20)
    held = RunningPerson(kind, frames=6, height=60, frame_size=24, channels=1)
    for seconds, frame in items_of(made, RATE):
        held.add(seconds, frame)
    entry = COLOUR.model_copy(update={"kind": "person_depth", "channels": 1, "frames": 6, "frame_size": 24})
    np.testing.assert_array_equal(held.tensor(), clip_tensor(entry, kind.clip(made, 6, 60)))


def test_percentiles_of_counts_are_numpys() -> None:
    values = np.random.default_rng(0).integers(0, 60, 101)
    wanted = [0, 1, 37.5, 99, 100]
    np.testing.assert_allclose(percentiles(np.bincount(values), wanted), np.percentile(values, wanted))


@pytest.mark.slow
def test_no_window_depends_on_what_comes_after_it(student: Student, frames: np.ndarray) -> None:
    other = np.concatenate([frames[:20], frames[::-1][:14] // 2])
    first, second = (
        list(Stream(student, window=0.5, stride=1 / 6).watch({"video": items_of(each, RATE)}))
        for each in (frames, other)
    )
    until = [each for each in first if each.end <= 20 / RATE]
    assert len(until) == 2
    for one, same in zip(until, second, strict=False):
        np.testing.assert_array_equal(one.smoothed, same.smoothed)
    assert not np.array_equal(first[-1].smoothed, second[len(first) - 1].smoothed)


@pytest.mark.slow
def test_windows_slide_and_are_averaged(student: Student, frames: np.ndarray) -> None:
    seen = list(Stream(student, window=0.5, stride=0.2, smoothing=0.25).watch({"video": items_of(frames, RATE)}))
    assert [round(each.end, 6) for each in seen] == [0.5, 0.7, 0.9, 1.1]
    assert [round(each.start, 6) for each in seen] == [0.0, 0.2, 0.4, 0.6]
    expected = seen[0].probabilities
    for each in seen[1:]:
        expected = 0.25 * each.probabilities + 0.75 * expected
        np.testing.assert_allclose(each.smoothed, expected)
    assert seen[-1].items == 33
    assert seen[-1].holds_hz > 0


class _Slow(Feed):
    """Frames whose decoding is said to take a tenth of a second each."""

    def __init__(self, frames: np.ndarray) -> None:
        self._items, self.dropped = items_of(frames, RATE), 2
        self.closed = False

    def take(self) -> Taken | None:
        item = next(self._items, None)
        return None if item is None else Taken(*item, 0.1)

    def close(self) -> None:
        self.closed = True


@pytest.mark.slow
def test_what_a_stream_holds_counts_the_decoding_of_its_frames(student: Student, frames: np.ndarray) -> None:
    feed = _Slow(frames)
    seen = list(Stream(student, window=0.5, stride=0.2).watch({"video": feed}))
    assert seen[0].busy_seconds > 0.1 * seen[0].items
    assert all(0 < each.holds_hz < 10 for each in seen)
    # The window alone is what is late.
    assert all(each.latency_ms < 1000 for each in seen)
    assert seen[-1].dropped == 2
    assert feed.closed


def test_a_camera_tells_the_work_of_each_frame_and_what_it_drops(tmp_path: Path) -> None:
    film = tmp_path / "camera.avi"
    write_video(film, np.random.default_rng(0).integers(0, 255, (9, 480, 640, 3), np.uint8))
    camera = Camera(str(film), COLOUR, format="avi")
    # All of its frames come before one is asked for.
    camera._thread.join(timeout=30)
    taken = camera.take()
    assert taken.work_seconds > 0
    assert camera.dropped >= 5
    rest = []
    with pytest.raises(DataError, match="went away"):
        rest.extend(camera)
    assert 9 - camera.dropped <= 1 + len(rest) + 1


@pytest.mark.slow
def test_a_window_sees_the_frames_of_its_seconds_alone(student: Student, frames: np.ndarray) -> None:
    last = list(Stream(student, window=0.5, stride=0.2, smoothing=1).watch({"video": items_of(frames, RATE)}))[-1]
    # 0.6 to 1.1 s are the frames 18 to 32.
    alone = next(iter(Stream(student, window=0.5).watch({"video": items_of(frames[18:33], RATE)})))
    np.testing.assert_array_equal(last.probabilities, alone.probabilities)


@pytest.mark.slow
def test_a_recording_that_is_shorter_than_a_window_makes_one(student: Student, frames: np.ndarray) -> None:
    (only,) = Stream(student, window=60).watch({"video": items_of(frames, RATE)})
    assert only.end == pytest.approx(len(frames) / RATE)
    assert list(Stream(student).watch({"video": iter(())})) == []


@pytest.mark.slow
def test_where_nobody_is_nothing_is_said(student: Student, frames: np.ndarray) -> None:
    both = np.concatenate([np.zeros_like(frames), frames])
    seen = list(Stream(student, window=0.5, stride=0.5).watch({"video": items_of(both, RATE)}))
    assert seen[0].smoothed is None
    assert seen[0].missing == "no person in any frame"
    assert seen[-1].smoothed is not None


@pytest.mark.slow
def test_a_frame_of_another_kind_is_named_with_its_time(student: Student, frames: np.ndarray) -> None:
    spoilt = [frames[0], frames[1] / 1000.0]
    with pytest.raises(DataError, match=r"the video at 0.07 s: .* looks like metres"):
        list(Stream(student).watch({"video": iter([(1 / 30, spoilt[0]), (2 / 30, spoilt[1])])}))


@pytest.mark.slow
def test_what_a_stream_costs_has_to_be_measured(student: Student) -> None:
    with pytest.raises(UsageError, match="looks at the whole recording") as caught:
        Stream(library.load_student(an_export("student_only", "torch").folder))
    assert "--causal" in str(caught.value.hint)
    causal = student.export.causal
    assert causal is not None
    assert causal.whole == student.export.scores
    assert causal.trials == 12
    assert causal.window_seconds == student.export.window.seconds


@pytest.mark.slow
def test_a_measured_stream_scores_what_it_says(student: Student) -> None:
    causal = student.export.causal
    assert causal is not None
    right = 0
    trials = [f"a{action}_s{subject}_t{time}" for action in (1, 2, 3) for subject in (2, 4) for time in (1, 2)]
    for trial in trials:
        seen = list(Stream(student).watch(feeds_of(student, [str(depth_file(trial))], speed=0)))
        right += int(seen[-1].smoothed.argmax()) == int(trial[1]) - 1
    assert causal.windows.accuracy == pytest.approx(right / len(trials))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 0}, "window = 0"),
        ({"smoothing": 1.5}, "smoothing = 1.5"),
        ({"stride": -1}, "stride = -1"),
        ({"window": 0.1}, "window = 0.1 s: at 30 a second it holds 3 of the video, and 4 are the fewest"),
        ({"window": 0.5, "stride": 0.01}, "stride = 0.01 s: the video comes 30 times a second"),
    ],
)
def test_settings_out_of_their_range_are_refused(student: Student, options: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Stream(student, **options)
    assert f"--{said.partition(' ')[0]} " in str(caught.value.hint)
    Stream(student, window=4 / 30)


def test_a_camera_that_goes_away_is_an_error_with_its_frames(tmp_path: Path) -> None:
    film = tmp_path / "camera.avi"
    write_video(film, np.random.default_rng(0).integers(0, 255, (9, 48, 64, 3), np.uint8))
    camera = Camera(str(film), COLOUR, format="avi")
    seen: list[np.ndarray] = []

    def watch() -> None:
        seen.extend(frame for _, frame in camera)

    with pytest.raises(DataError, match=rf"the camera {film} went away after \d+ frames"):
        watch()
    assert seen
    assert seen[0].shape == (48, 64, 3)


def test_a_camera_that_says_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = tmp_path / "camera.avi"
    write_video(film, np.zeros((3, 48, 64, 3), np.uint8))
    monkeypatch.setattr(Camera, "_read", lambda _: None)
    with pytest.raises(DataError, match=r"gave no frame for 0.1 s, after 0 frames"):
        Camera(str(film), COLOUR, format="avi", patience=0.1).take()


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="the camera 97 cannot be opened"):
        Camera("97", COLOUR)


@pytest.mark.slow
def test_series_are_watched_too_and_their_units_are_looked_at() -> None:
    student = library.load_student(an_export("student_only_sensor", "torch").folder)
    samples = mat_file.read(inertial_file("a1_s2_t1").read_bytes(), "d_iner", (None, None))[:, :3]
    seen = list(Stream(student, window=1, stride=0.5).watch({"accelerometer": items_of(samples, 50)}))
    # A window of 1 s is 50 samples, which are predicted as a recording of their own.
    assert seen[0].notes == ()
    np.testing.assert_array_equal(seen[0].probabilities, student.predict(samples[:50]).probabilities)
    (loud,) = Stream(student, window=60).watch({"accelerometer": items_of(9.81 * samples, 50)})
    (note,) = loud.notes
    assert "looks like m/s²" in note
    # However often it is seen, it is said once.
    growing = np.linspace(9.5, 10, len(samples))[:, None] * samples
    many = list(Stream(student, window=0.5, stride=0.1).watch({"accelerometer": items_of(growing, 50)}))
    assert len(many) > 3
    assert len(many[-1].notes) == 1
    with pytest.raises(DataError, match="the accelerometer has 2 axes, and the student takes 3"):
        list(Stream(student).watch({"accelerometer": items_of(samples[:, :2], 50)}))


@pytest.mark.slow
def test_a_camera_gives_no_depth(student: Student) -> None:
    with pytest.raises(UsageError, match="a camera gives colour frames, and this student takes the video"):
        feeds_of(student, ["0"], speed=0)


def test_a_film_comes_frame_by_frame_in_its_time(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)
    write_video(tmp_path / "film.avi", pictures)
    items = list(frames_of_file(tmp_path / "film.avi", COLOUR))
    np.testing.assert_allclose([seconds for seconds, _ in items], (np.arange(6) + 1) / 15, atol=1e-6)
    (tmp_path / "no.avi").write_bytes(b"RIFF" + bytes(40))
    with pytest.raises(DataError, match=r"no.avi: it cannot be decoded"):
        list(frames_of_file(tmp_path / "no.avi", COLOUR))


def test_a_paced_recording_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("kdbench.students.incoming.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("kdbench.students.incoming.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def decoded() -> Iterator[Item]:
        for item in items_of(np.zeros(3), 10):
            now[0] += 0.02
            yield item

    feed = Played(decoded(), 2)
    taken = [feed.take() for _ in range(3)]
    assert round(now[0], 6) == 0.15
    # To have a frame took 0.02 s; to wait until it is due is no work.
    assert [round(each.work_seconds, 6) for each in taken if each is not None] == [0.02] * 3
    assert feed.take() is None


@pytest.mark.slow
def test_the_command_prints_windows_and_writes_a_report(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = an_export("student_only", "torch", causal=True).folder
    write, made, alive = Windows.add, [], []

    def counting(self: Windows, each: Watched) -> None:
        write(self, each)
        made.append(weakref.ref(each))
        alive.append(sum(one() is not None for one in made))

    monkeypatch.setattr(Windows, "add", counting)
    out = call(
        "stream",
        str(folder),
        "--input",
        str(depth_file("a1_s2_t1")),
        "--report",
        str(tmp_path / "out"),
        "--window",
        "0.5",
    )
    with (tmp_path / "out/windows.csv").open() as file:
        rows = list(csv.DictReader(file))
    windows = [line for line in out.splitlines() if " to " in line and "holds" in line and "windows of" not in line]
    assert len(rows) == len(windows) >= 3
    # The one that is shown, and the one that the loop lets go.
    assert max(alive) <= 2
    for row, line in zip(rows, windows, strict=True):
        assert row["smoothed_class"] in line
        shares = [float(row[name]) for name in library.load_student(folder).classes]
        assert sum(shares) == pytest.approx(1, abs=1e-3)
    with Image.open(tmp_path / "out/timeline.png") as picture:
        assert min(picture.size) > 500


@pytest.mark.slow
def test_rows_are_in_the_file_as_windows_come(student: Student, frames: np.ndarray, tmp_path: Path) -> None:
    rows = Windows(tmp_path, student.classes)
    stream = Stream(student, window=0.5, stride=0.2)
    for number, each in enumerate(stream.watch({"video": items_of(frames, RATE)})):
        rows.add(each)
        with rows.path.open() as file:
            assert len(list(csv.DictReader(file))) == number + 1
    rows.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailed, match=r"cannot write .*windows.csv"):
        Windows(tmp_path / "file", student.classes)


@pytest.mark.slow
def test_a_film_and_a_camera_are_watched_alike() -> None:
    student = library.load_student(an_export("student_only", "torch", video="rgb").folder)
    film = colour_file("a1_s2_t1")
    of_file = list(Stream(student, window=0.4, stride=0.2).watch(feeds_of(student, [str(film)], speed=0)))
    assert [round(each.end, 2) for each in of_file] == [0.4, 0.6]
    # All of its frames arrive at once, and then it is gone.
    camera = Camera(str(film), student.export.inputs[0], format="avi")
    with pytest.raises(DataError, match="went away after"):
        list(Stream(student, window=0.4).watch({"video": camera}))


@pytest.mark.slow
def test_a_terminal_shows_a_table_that_renews_itself() -> None:
    folder = an_export("student_only", "torch", causal=True).folder
    ours, theirs = pty.openpty()
    words = ["--input", str(depth_file("a1_s2_t1")), "--window", "0.5", "--speed", "10"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kdbench", "stream", str(folder), *words], stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "ms a window, holds" in text
    assert "\x1b[" in text
    assert "0.0 to 0.5 s" in text


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    from kdbench.cli import main

    def typed(*arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        captured = capsys.readouterr()
        assert caught.value.code in (0, None), captured.err
        return captured.out

    return typed
