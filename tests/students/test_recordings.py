"""Recordings as users have them: what fits is read, and what does not is named with what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import ACCELEROMETER, COLOUR, an_export, depth_file, inertial_file
from recordings import write_video

import kdbench
from kdbench.data.readers import mat_file
from kdbench.errors import DataError, KdbenchError, UsageError
from kdbench.students.feeds import feeds_of
from kdbench.students.films import frames_of_file
from kdbench.students.fit import odd_length
from kdbench.students.recordings import Recorded, check_form, read
from kdbench.students.schema import SeriesInput, VideoInput
from kdbench.students.student import Student, check_rate_hz, tensor_of


@pytest.fixture(scope="module")
def student() -> Student:
    return kdbench.load_student(an_export("student_only_sensor", "torch").folder)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return mat_file.read(inertial_file("a1_s2_t1").read_bytes(), "d_iner", (None, None))[:, :3].astype(np.float32)


def written(folder: Path, samples: np.ndarray, rate_hz: float | None, delimiter: str = ",") -> Path:
    """A text file of a series, with a time before it or not."""
    seconds = np.arange(len(samples))[:, None] / (rate_hz or 1)
    table = samples if rate_hz is None else np.hstack([seconds, samples])
    head = [*(["seconds"] if rate_hz else []), *"xyz"[: samples.shape[1]]]
    lines = [delimiter.join(head), *(delimiter.join(f"{value:.8g}" for value in row) for row in table)]
    path = folder / "series.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("rate_hz", "delimiter"), [(None, ","), (50, ","), (52, ";"), (50, "\t")])
def test_a_text_file_is_the_same_recording(
    student: Student, samples: np.ndarray, tmp_path: Path, rate_hz: float | None, delimiter: str
) -> None:
    said = student.predict(written(tmp_path, samples, rate_hz, delimiter))
    np.testing.assert_allclose(said.probabilities, student.predict(samples).probabilities, atol=1e-6)
    assert said.notes == ()


@pytest.mark.slow
def test_another_rate_is_refused_unless_it_is_asked_for(student: Student, samples: np.ndarray, tmp_path: Path) -> None:
    slow = written(tmp_path, samples[::2], 25)
    with pytest.raises(DataError, match=r"series.csv: the accelerometer is recorded at 25 Hz, .* trained at 50 Hz"):
        student.predict(slow)
    assert student.predict(slow, any_rate=True).label
    with pytest.raises(DataError, match="recorded at 100 Hz"):
        student.predict(samples, rate_hz=100)
    with pytest.raises(DataError) as caught:
        feeds_of(student, [str(slow)], speed=0)
    assert "or play it all the same" in str(caught.value.hint)


@pytest.mark.slow
def test_a_stream_of_one_source_takes_one_input(student: Student, samples: np.ndarray, tmp_path: Path) -> None:
    file = str(written(tmp_path, samples, 50))
    with pytest.raises(UsageError, match="this student takes one input; 2 were given"):
        feeds_of(student, [file, f"accelerometer={file}"], speed=0)
    with pytest.raises(DataError, match="no array"):
        student.predict([[1.0, 2.0], [1.0]])  # type: ignore[arg-type]


@pytest.mark.slow
def test_another_number_of_axes_is_refused(student: Student, samples: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the accelerometer has 2 axes, and the student takes 3 \(x, y, z\)"):
        student.predict(samples[:, :2])
    with pytest.raises(DataError, match=r"it has 2 columns \(x, y\), and the accelerometer has 3 axes"):
        student.predict(written(tmp_path, samples[:, :2], None))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (9.81, "it looks like m/s², and g is expected; divide by 9.807 (--factor 0.102)"),
        (1 / 9.81, "it looks as if m/s² were converted twice, and g is expected; multiply by 9.807 (--factor 9.807)"),
        (1.0, None),
        (3.0, None),
    ],
)
def test_units_that_are_981_times_off_are_said(
    student: Student, samples: np.ndarray, factor: float, said: str | None
) -> None:
    notes = student.predict(samples * factor).notes
    assert [note.partition(": ")[2] for note in notes] == ([said] if said else [])


@pytest.mark.parametrize(("seconds", "said"), [(9.0, "stream"), (8.9, None), (0.6, "too little"), (0.61, None)])
def test_a_length_that_is_odd_is_said(seconds: float, said: str | None) -> None:
    note = odd_length(seconds, 3.0)
    assert note is None if said is None else said in str(note)


@pytest.mark.slow
def test_a_class_that_the_student_does_not_know_is_refused(student: Student, samples: np.ndarray) -> None:
    said = student.predict(samples)
    assert said.probability_of(said.label) == said.confidence
    with pytest.raises(UsageError, match="class of this student 'swipe'"):
        said.probability_of("swipe")


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"gyroscope": np.zeros((9, 3))}, {}])
def test_sources_have_to_be_those_of_the_student(student: Student, given: dict[str, np.ndarray]) -> None:
    with pytest.raises(UsageError, match="gyroscope" if given else "lacks accelerometer"):
        student.predict(given)


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "series.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as an array of numbers"):
        read(path, ACCELEROMETER)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{}", "files of the accelerometer end in .npy, .mat, .csv"),
        ("a.npy", b"\x93NUMPY", "cannot be read as an array"),
        ("a.csv", b"", "it has no rows"),
        ("a.csv", b"1,2\n3,4", "it has 2 columns"),
        ("a.csv", b"0,1,2,3\n0,1,2,3", "its first column is no time that grows"),
    ],
)
def test_a_file_that_is_something_else_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / name, ACCELEROMETER)
    assert str(tmp_path / name) in caught.value.message


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    entry: SeriesInput | VideoInput
    for entry in (COLOUR, ACCELEROMETER):
        with pytest.raises(DataError, match="is a folder, and a recording is a file") as caught:
            read(tmp_path, entry)
    assert caught.value.hint == f"Name the files in it, for example {tmp_path}/*"


def test_a_colour_video_gives_the_clip_that_the_reader_makes(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), np.uint8)
    write_video(tmp_path / "clip.avi", frames)
    chosen = read(tmp_path / "clip.avi", COLOUR)
    whole = read(tmp_path / "clip.avi", COLOUR, whole=True)
    assert (len(chosen.array), len(whole.array)) == (4, 12)
    assert chosen.rate_hz == pytest.approx(15)
    np.testing.assert_array_equal(tensor_of(COLOUR, chosen, []), tensor_of(COLOUR, whole, []))


def test_depth_in_metres_is_refused() -> None:
    entry = COLOUR.model_copy(update={"kind": "person_depth", "channels": 1})
    metres = mat_file.read(depth_file("a1_s2_t1").read_bytes(), "d_depth", (None, None, None)).transpose(2, 0, 1) / 1000
    with pytest.raises(DataError, match="looks like metres: multiply by 1000"):
        student_input(entry, metres)


@pytest.mark.parametrize("side", [64, 256])
def test_colour_frames_of_any_size_are_squeezed_as_those_of_a_file_are(tmp_path: Path, side: int) -> None:
    entry = COLOUR.model_copy(update={"kind": "squeezed_colour", "frames": 4, "frame_size": 32})
    blocks = np.random.default_rng(0).integers(0, 255, (9, 8, 8, 3), np.uint8)
    write_video(tmp_path / "clip.avi", blocks.repeat(side // 8, 1).repeat(side // 8 + 2, 2))
    decoded = np.stack([frame for _, frame in frames_of_file(tmp_path / "clip.avi", COLOUR)])
    assert decoded.shape == (9, side, side + 16, 3)
    of_file = tensor_of(entry, read(tmp_path / "clip.avi", entry), []).astype(int)
    of_array = student_input(entry, decoded).astype(int)
    # The file's colours are converted and squeezed in one step.
    assert np.abs(of_file - of_array).mean() < 2.5
    assert np.abs(of_file - of_array[:, ::-1]).mean() > 20


def refusal(call: Callable[[], object]) -> KdbenchError:
    with pytest.raises(KdbenchError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("samples", "said", "hint"),
    [
        (np.zeros((3, 99)), "the accelerometer has 99 axes, and the student takes 3", "transpose it"),
        (np.zeros((99, 2)), "the accelerometer has 2 axes", "a column for each axis, in this order: (n, 3)"),
        (np.zeros(99), "it is (99,) float64; expected samples (n, axes)", "the accelerometer: x, y, z, in g, at 50 Hz"),
        (np.full((99, 3), np.nan), "values that are not finite, 297 of them", "Fill or delete these samples."),
        (np.zeros((99, 3), complex), "it is (99, 3) complex128; expected samples", "the accelerometer: x, y, z"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_helps(samples: np.ndarray, said: str, hint: str) -> None:
    error = refusal(lambda: tensor_of(ACCELEROMETER, Recorded(samples), []))
    assert said in error.message
    assert hint in str(error.hint)


@pytest.mark.parametrize(("kind", "shape"), [("person_depth", (9, 20, 20)), ("drawn_joints", (9, 20, 3))])
def test_complex_depths_and_joints_are_refused(kind: str, shape: tuple[int, ...]) -> None:
    entry = COLOUR.model_copy(update={"kind": kind, "channels": 1})
    assert "complex128" in refusal(lambda: tensor_of(entry, Recorded(np.ones(shape, complex)), [])).message


def test_an_array_file_with_axes_as_rows_is_no_table_of_further_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "series.npy", np.random.default_rng(0).normal(size=(3, 99)))
    recorded = read(tmp_path / "series.npy", ACCELEROMETER)
    assert "transpose it" in str(refusal(lambda: tensor_of(ACCELEROMETER, recorded, [])).hint)


def test_what_is_no_recording_of_this_student_is_refused_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "wave_1.csv").write_text("x,y,z\n1,2,3\n1,2,3\n")
    for call in (lambda: read(tmp_path / "wave_1.csv", COLOUR), lambda: check_form(tmp_path / "wave_1.csv", COLOUR)):
        error = refusal(call)
        assert error.message == f"this student sees video; {tmp_path}/wave_1.csv is a table"
        assert "or a video file" in str(error.hint)
    assert refusal(lambda: read(tmp_path / "no.mp4", COLOUR)).hint == "Name a recording that is there."
    (tmp_path / "no.avi").write_bytes(b"RIFF" + bytes(40))
    assert "Copy it again" in str(refusal(lambda: list(frames_of_file(tmp_path / "no.avi", COLOUR))).hint)


@pytest.mark.parametrize("rate_hz", ["50", 0, -1.0, float("nan"), float("inf"), True])
def test_what_is_no_rate_is_refused(rate_hz: object) -> None:
    error = refusal(lambda: check_rate_hz(rate_hz))  # type: ignore[arg-type]
    assert error.message == f"rate_hz = {rate_hz!r}: expected a number above 0"
    assert "--rate 50" in str(error.hint)
    check_rate_hz(np.float32(50))


def student_input(entry: VideoInput, frames: np.ndarray) -> np.ndarray:
    made: np.ndarray = tensor_of(entry, Recorded(frames), [])
    return made
