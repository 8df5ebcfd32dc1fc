"""The skeleton view: where joints come to lie in the picture, what a whole trial keeps, and broken files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recordings import TRIALS, save

from kdbench.data.card import Card, load_card
from kdbench.data.readers import skeleton
from kdbench.data.readers.base import Trial, check
from kdbench.data.readers.utd_mhad import UtdMhad
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError

TRIAL = Trial("a1_s1_t1", 0)
FILE = "Skeleton/a1_s1_t1_skeleton.mat"
SIDE = 128


def person(frames: int = 30) -> np.ndarray:
    """Joints `(F, 20, 3)`, metres, of a person with a torso of 0.4 m who stands 3 m from the camera."""
    places = {
        0: (0, 0.6),
        1: (0, 0.4),
        2: (0, 0.1),
        3: (0, 0),
        4: (-0.2, 0.35),
        5: (-0.25, 0.1),
        6: (-0.25, -0.1),
        7: (-0.25, -0.2),
        8: (0.2, 0.35),
        9: (0.25, 0.1),
        10: (0.25, -0.1),
        11: (0.25, -0.2),
        12: (-0.1, -0.05),
        13: (-0.1, -0.4),
        14: (-0.1, -0.75),
        15: (-0.1, -0.8),
        16: (0.1, -0.05),
        17: (0.1, -0.4),
        18: (0.1, -0.75),
        19: (0.1, -0.8),
    }
    one = np.array([(*places[joint], 3.0) for joint in range(20)])
    return np.repeat(one[None], frames, axis=0)


def drawn(joints: np.ndarray, side: int = SIDE) -> np.ndarray:
    return skeleton.draw(skeleton.normalised(joints), side)


def pixel(x: float, y: float, side: int = SIDE) -> tuple[int, int]:
    """Row and column of a point, in metres from the hip, by the documented projection."""
    half = skeleton.HALF_SIDE * 0.4
    return round((-y / half + 1) * side / 2 - 0.5), round((x / half + 1) * side / 2 - 0.5)


def test_joints_lie_where_the_projection_puts_them():
    frame = drawn(person())[0]
    for x, y in [(0, 0.6), (0.25, -0.2), (-0.1, -0.8), (0, 0.25), (0.1, -0.2)]:
        assert frame[pixel(x, y)] > 80, (x, y)
    for x, y in [(0.4, 0.3), (-0.4, -0.5), (0, -0.5), (0, 0.9)]:
        assert frame[pixel(x, y)] == 0, (x, y)
    assert frame.shape == (SIDE, SIDE)


def test_left_and_right_are_as_the_camera_sees_them():
    joints = person()
    joints[:, 11, 0] += 0.5
    frame = drawn(joints)[0]
    assert frame[pixel(0.7, -0.19)] > 60
    assert frame[:, : SIDE // 2].max() > 0
    assert frame[pixel(-0.7, -0.19)] == 0


def test_size_and_place_of_the_person_do_not_matter():
    joints = person()
    assert np.array_equal(drawn(joints), drawn(joints * 1.3 + [0.4, -0.2, 0.5]))


def test_what_moves_stays_visible_as_movement():
    joints = person(40)
    joints[25:] -= [0, 0.3, 0]
    frames = drawn(joints)
    tops = [np.flatnonzero(frame.any(axis=1))[0] for frame in frames]
    assert tops[30] - tops[0] == pytest.approx(0.3 / (2 * skeleton.HALF_SIDE * 0.4) * SIDE, abs=1)


def test_nearer_is_brighter_and_hides_what_is_behind():
    joints = person()
    joints[:, 8:12, 2] -= 0.5
    joints[:, 11] = [0, -0.2, 2.2]
    joints[:, 4:8, 2] += 0.3
    frame = drawn(joints)[0]
    assert frame[pixel(0.25, 0)] > frame[pixel(0, 0.2)] > frame[pixel(-0.25, 0)] > 0
    assert frame.max() <= 255
    nearest = 40 + 215 * (2.0 + 1) / 3.5
    assert frame[pixel(0, -0.2)] == pytest.approx(nearest, abs=6)


def test_a_bone_towards_the_camera_and_joints_out_of_the_picture_are_drawn():
    joints = person()
    joints[:, 11] = joints[:, 10] - [0, 0, 0.6]
    joints[:, 7] = [-9, 9, 3]
    frame = drawn(joints)[0]
    assert frame[pixel(0.25, -0.1)] > 150
    assert frame[pixel(-0.35, 0)] > 0


def test_larger_frames_show_the_same():
    small, large = drawn(person(1), 64)[0].astype(float), drawn(person(1), 128)[0].astype(float)
    averaged = large.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), averaged.ravel())[0, 1] > 0.98


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("utd_mhad")


@pytest.fixture
def with_skeletons(own_recordings: Path) -> Path:
    (own_recordings / "utd_mhad/Skeleton").mkdir()
    for number, trial in enumerate(TRIALS):
        joints = person(30 + number % 3)
        joints[:, 11, 1] += np.linspace(0, 0.02 * number, len(joints))
        save(own_recordings / f"utd_mhad/Skeleton/{trial}_skeleton.mat", d_skel=joints.transpose(1, 2, 0))
    return own_recordings


def test_the_view_is_opened_like_any_other(with_skeletons: Path, card_path: Path):
    data = open_dataset(
        str(card_path), data_dir=with_skeletons, video="skeleton", frame_size=32, frames=8, progress=False
    )
    assert (data.view, data.view_reason, data.video_channels, len(data)) == ("skeleton", "asked", 1, 24)
    clip = data.clip("a3_s4_t2")
    assert clip.shape == (1, 8, 32, 32)
    assert 0.02 < (clip > 20).mean() < 0.3
    assert open_dataset(str(card_path), data_dir=with_skeletons, progress=False).view == "depth"


def test_a_view_that_is_not_there_says_where_to_get_it(recordings: Path, card_path: Path):
    with pytest.raises(DataError, match=r"the skeleton video of 'utd_mhad' is not there \(depth is\)") as caught:
        open_dataset(str(card_path), data_dir=recordings, video="skeleton", progress=False)
    assert "Skeleton.zip" in str(caught.value.hint)
    assert "utd_mhad/Skeleton/a1_s1_t1_skeleton.mat exists" in str(caught.value.hint)


def lost(joints: np.ndarray) -> np.ndarray:
    return np.zeros_like(joints)


def turned(joints: np.ndarray) -> np.ndarray:
    return joints.transpose(2, 0, 1)


def not_finite(joints: np.ndarray) -> np.ndarray:
    joints[3, 1, 5] = np.nan
    return joints


def far_away(joints: np.ndarray) -> np.ndarray:
    joints[3, 1, 0] = 1e38
    return joints


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (far_away, r"a joint lies 2\.5e\+38 torso lengths from the hip; expected a tracked person"),
        (lost, "the torso has no length in most frames; expected a tracked person"),
        (turned, r"'d_skel' is \(30, 20, 3\) float64; expected 'd_skel' of shape \(20, 3, n\)"),
        (not_finite, "has 1 value of NaN or infinity"),
    ],
)
def test_a_broken_file_is_named(
    with_skeletons: Path, card: Card, damage: Callable[[np.ndarray], np.ndarray], message: str
):
    save(with_skeletons / "utd_mhad" / FILE, d_skel=damage(person().transpose(1, 2, 0)))
    with pytest.raises(DataError, match=message) as caught:
        UtdMhad(card, with_skeletons / "utd_mhad").read(TRIAL, "skeleton", 16)
    assert caught.value.message.startswith(f"trial a1_s1_t1: {FILE}")


def test_real_skeletons_lie_over_the_persons_of_the_depth_view(data_dir: Path, card: Card):
    reader = UtdMhad(card, data_dir / "utd_mhad")
    for name in ("a1_s1_t1", "a16_s4_t1", "a27_s8_t3"):
        recording = reader.read(Trial(name, 0), "skeleton", 16)
        check(recording, card, name, "skeleton", 16)
        assert recording.clip is not None
        bones = recording.clip[..., 0] > 60
        assert 0.01 < bones.mean() < 0.1
        depth = reader.read(Trial(name, 0), "depth", 16).clip
        assert depth is not None
        # Both move to the same side at the same time: where the arm is, the sums over rows agree in sign.
        side = depth.shape[1]
        person_mass = (depth[..., 0] > 0).sum(axis=1)
        bone_mass = bones.sum(axis=1)
        centres = [
            (mass * np.arange(n)).sum(1) / mass.sum(1) / n for mass, n in ((person_mass, side), (bone_mass, 128))
        ]
        moved = [c - c.mean() for c in centres]
        assert np.corrcoef(moved[0], moved[1])[0, 1] > 0.3, name
