from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from recordings import depth_of, inertial_of, save, write_trial, write_video

from kdbench.data.card import Card, load_card
from kdbench.data.readers.base import Reader, Trial, check
from kdbench.data.readers.utd_mhad import UtdMhad
from kdbench.errors import DataError

TRIAL = Trial("a1_s1_t1", 0)
INERTIAL = "Inertial/a1_s1_t1_inertial.mat"
DEPTH = "Depth/a1_s1_t1_depth.mat"


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("utd_mhad")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one trial in the data set's own size; not to be changed."""
    folder = tmp_path_factory.mktemp("recordings")
    write_trial(folder / "utd_mhad", TRIAL.id, full=True)
    return folder


def reader_of(folder: Path, card: Card) -> Reader:
    return UtdMhad(card, folder / "utd_mhad")


def test_the_inertial_file_gives_both_sensors(recordings: Path, card: Card):
    series = reader_of(recordings, card).read(TRIAL, None, 0).series
    expected = inertial_of("a1_s1_t1")
    assert np.allclose(series["accelerometer"], expected[:, :3], atol=1e-6)
    assert np.allclose(series["gyroscope"], expected[:, 3:], atol=1e-4)
    assert all(values.dtype == np.float32 for values in series.values())


def test_the_depth_clip_is_a_square_around_the_person(recordings: Path, card: Card):
    clip = reader_of(recordings, card).read(TRIAL, "depth", 16).clip
    assert clip is not None
    side = round(160 * 1.1)
    assert clip.shape == (16, side, side, 1)
    # The arm is nearest and rises; the legs stay; the corners are empty.
    arm = [np.argwhere(frame[..., 0] == 255)[:, 0].mean() for frame in clip]
    assert (np.diff(arm) < 0).all()
    assert (clip[:, 0, 0] == 0).all()
    assert clip[:, side // 2, side // 3].min() > 0


def test_real_recordings(data_dir: Path, card: Card):
    reader = UtdMhad(card, data_dir / "utd_mhad")
    for name in ("a1_s1_t1", "a14_s2_t3", "a27_s8_t3"):
        recording = reader.read(Trial(name, 0), "depth", 16)
        check(recording, card, name, "depth", 16)
        path = data_dir / f"utd_mhad/Inertial/{name}_inertial.mat"
        raw = scipy.io.loadmat(path)["d_iner"]
        assert np.allclose(recording.series["gyroscope"], raw[:, 3:], rtol=1e-6)
        # At rest, before the action, the accelerometer feels gravity.
        assert np.linalg.norm(recording.series["accelerometer"][:5].mean(axis=0)) == pytest.approx(1, abs=0.15)
        assert recording.clip is not None
        covered = (recording.clip > 0).mean()
        assert 0.1 < covered < 0.45
        assert recording.clip[recording.clip > 0].mean() > 60


def test_sparse_and_7_3_files_are_read_as_any(own_recordings: Path, card: Card):
    root = own_recordings / "utd_mhad"
    usual = reader_of(own_recordings, card).read(TRIAL, "depth", 4)
    save(root / INERTIAL, d_iner=scipy.sparse.csc_matrix(inertial_of("a1_s1_t1")))
    with h5py.File(root / DEPTH, "w", userblock_size=512) as file:
        file["d_depth"] = depth_of("a1_s1_t1", full=True).T
        file["d_depth"].attrs["MATLAB_class"] = np.bytes_("uint16")
    found = reader_of(own_recordings, card).read(TRIAL, "depth", 4)
    assert usual.clip is not None
    assert found.clip is not None
    assert np.array_equal(found.clip, usual.clip)
    assert all(np.array_equal(found.series[name], usual.series[name]) for name in usual.series)


def without_variable(root: Path) -> None:
    save(root / INERTIAL, something=inertial_of("a1_s1_t1"))


def truncated(root: Path) -> None:
    content = (root / DEPTH).read_bytes()
    (root / DEPTH).write_bytes(content[: len(content) // 2])


def empty(root: Path) -> None:
    (root / INERTIAL).write_bytes(b"")


def no_matlab(root: Path) -> None:
    (root / INERTIAL).write_text("<html>404 Not Found</html>" * 20)


def not_finite(root: Path) -> None:
    values = inertial_of("a1_s1_t1")
    values[17, 4] = np.nan
    save(root / INERTIAL, d_iner=values)


def wrong_shape(root: Path) -> None:
    save(root / INERTIAL, d_iner=inertial_of("a1_s1_t1")[:, :5])


def text(root: Path) -> None:
    save(root / INERTIAL, d_iner=np.array(["walk"]))


def turned(root: Path) -> None:
    save(root / DEPTH, d_depth=depth_of("a1_s1_t1", full=True).transpose(2, 0, 1))


def no_frames(root: Path) -> None:
    save(root / DEPTH, d_depth=np.zeros((240, 320, 0), np.uint16))


def nobody(root: Path) -> None:
    save(root / DEPTH, d_depth=np.zeros((240, 320, 40), np.uint16))


def complex_numbers(root: Path) -> None:
    save(root / INERTIAL, d_iner=inertial_of("a1_s1_t1") * 1j)


def too_far(root: Path) -> None:
    far = depth_of("a1_s1_t1", full=True).astype(np.float64)
    far[100, 150, 3] = 1e38
    save(root / DEPTH, d_depth=far)


def negative(root: Path) -> None:
    save(root / DEPTH, d_depth=depth_of("a1_s1_t1", full=True).astype(np.int32) - 5)


def gone(root: Path) -> None:
    (root / DEPTH).unlink()


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (without_variable, INERTIAL, r"no variable 'd_iner' \(it holds 'something'\)"),
        (truncated, DEPTH, "cannot be read as a MATLAB file"),
        (empty, INERTIAL, "cannot be read as a MATLAB file .* it holds 0 bytes"),
        (no_matlab, INERTIAL, "cannot be read as a MATLAB file"),
        (not_finite, INERTIAL, "has 1 value of NaN or infinity"),
        (wrong_shape, INERTIAL, r"is \(\d+, 5\) float64"),
        (text, INERTIAL, "'d_iner' is .*; expected"),
        (turned, DEPTH, r"is \(34, 240, 320\) uint16"),
        (no_frames, DEPTH, r"is \(240, 320, 0\) uint16"),
        (nobody, DEPTH, "no person in any frame"),
        (complex_numbers, INERTIAL, "'d_iner' is complex"),
        (too_far, DEPTH, r"depths lie between 0 and 1e\+38; expected millimetres up to 65535"),
        (negative, DEPTH, "depths lie between -5 and 2994; expected millimetres"),
        (gone, DEPTH, "cannot be read: No such file"),
    ],
)
def test_a_broken_file_is_named_with_its_trial_and_what_was_expected(
    own_recordings: Path, card: Card, damage: Callable[[Path], None], file: str, message: str
):
    damage(own_recordings / "utd_mhad")
    with pytest.raises(DataError, match=message) as caught:
        reader_of(own_recordings, card).read(TRIAL, "depth", 16)
    assert caught.value.message.startswith(f"trial a1_s1_t1: {file}")
    if damage is not gone:
        assert "expected" in caught.value.message


def colour_frames() -> np.ndarray:
    """48 frames: the left eighth red, the rest green, brighter from frame to frame."""
    frames = np.zeros((48, 480, 640, 3), np.uint8)
    frames[:, :, :80] = (255, 0, 0)
    frames[:, :, 80:, 1] = 5 * np.arange(48)[:, None, None]
    return frames


@pytest.fixture
def video(own_recordings: Path) -> Path:
    path = own_recordings / "utd_mhad/RGB/a1_s1_t1_color.avi"
    write_video(path, colour_frames())
    return path


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_colour_is_the_centred_square_at_the_centres_of_equal_parts(own_recordings: Path, card: Card, codec: str):
    write_video(own_recordings / "utd_mhad/RGB/a1_s1_t1_color.avi", colour_frames(), codec)
    clip = reader_of(own_recordings, card).read(TRIAL, "rgb", 16).clip
    assert clip is not None
    assert clip.shape == (16, 480, 480, 3)
    middle = clip[:, 240, 240].astype(int)
    assert np.abs(middle[:, 1] - 5 * np.arange(1, 48, 3)).max() <= 8
    assert middle[:, (0, 2)].max() <= 8
    # The red edge, 80 pixels wide, is just outside the square.
    assert clip[:, 240, 16:, 0].max() <= 40


def test_a_cut_off_video_is_named(own_recordings: Path, video: Path, card: Card):
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        DataError, match=r"trial a1_s1_t1: RGB/a1_s1_t1_color\.avi: it is cut off after \d+ of 48 frames"
    ):
        reader_of(own_recordings, card).read(TRIAL, "rgb", 16)


def test_what_is_no_video_is_named(own_recordings: Path, video: Path, card: Card):
    video.write_bytes(b"nothing" * 100)
    with pytest.raises(DataError, match=r"trial a1_s1_t1: .*it cannot be decoded.*expected a whole colour video"):
        reader_of(own_recordings, card).read(TRIAL, "rgb", 16)


def test_hashes_are_those_of_the_files(recordings: Path, card: Card):
    hashes = reader_of(recordings, card).read(TRIAL, "depth", 4).hashes
    for path in (INERTIAL, DEPTH):
        content = (recordings / "utd_mhad" / path).read_bytes()
        assert hashes[path] == hashlib.sha256(content).hexdigest()
