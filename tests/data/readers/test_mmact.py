"""MMAct on small files in its layout: tolerant of its names, strict about its contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forked import kdbench

from kdbench.data.card import load_card
from kdbench.data.readers import video_file
from kdbench.data.readers.mmact import MMAct
from kdbench.data.readers.timeline import centre_frames
from kdbench.data.splits import split
from kdbench.data.store.open import open_dataset
from kdbench.data.store.verify import verify
from kdbench.errors import DataError, UsageError
from kdbench.testing import check

SENSORS = {"acc_phone_clip": 100, "acc_watch_clip": 100, "gyro_clip": 50, "orientation_clip": 40}
ACTIONS = ("carrying_light", "waving_hand")


def rows_of(folder: str, subject: int, scene: int, session: int, action: str) -> np.ndarray:
    rng = np.random.default_rng([*f"{folder} {subject} {scene} {session} {action}".encode()])
    return rng.normal(size=(SENSORS[folder] // 2 + subject, 3)).round(4)


def write_csv(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"20181014_15:58:{k // 50:02}.{k % 50:06},{x},{y},{z}" for k, (x, y, z) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")


def write_mp4(path: Path, frames: int, camera: int) -> None:
    """A grey clip, left half brighter from frame to frame, the right half as bright as its camera's number."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((90, 160, 3), np.uint8)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for k in range(frames):
            picture[:, :80], picture[:, 80:] = 40 + 5 * k, 50 * camera
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Performances of three subjects in all scenes and two sessions; zeros, capitals and depths differ."""
    data = tmp_path_factory.mktemp("mmact")
    for subject in (1, 14, 17):
        for scene, session in ((1, 1), (2, 1), (3, 5)):
            for action in ACTIONS:
                person = f"subject{subject:02}" if subject == 14 else f"subject{subject}"
                file = action.capitalize() if subject == 14 else action
                for folder in SENSORS:
                    path = data / f"mmact/{folder}/subject{subject}/scene{scene}/session{session}/{action}.csv"
                    write_csv(path, rows_of(folder, subject, scene, session, action))
                for camera in (1, 4):
                    place = f"{person}/cam{camera}/scene{scene}/session{session}/{file}.mp4"
                    write_mp4(data / "mmact/trimmed/clips" / place, 12 + subject, camera)
    return data


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    import shutil

    return Path(shutil.copytree(whole, tmp_path / "data"))


def opened(data: Path, **changes: object):
    arguments = {"frame_size": 32, "frames": 8, "progress": False} | changes
    return open_dataset("mmact", data_dir=data, **arguments)


def test_one_sensor_clip_serves_every_camera(whole: Path):
    made = opened(whole)
    assert (len(made), made.view, made.video_channels) == (36, "rgb", 3)
    name = "s14_scene2_session1_carrying_light"
    one, four = made.series(f"{name}_cam1"), made.series(f"{name}_cam4")
    for sensor, folder in zip(made.card.sensors, SENSORS, strict=True):
        expected = rows_of(folder, 14, 2, 1, "carrying_light")
        assert np.allclose(one[sensor], expected, atol=1e-4)
        assert np.array_equal(one[sensor], four[sensor])
    for camera in (1, 4):
        clip = made.clip(f"{name}_cam{camera}").astype(float)
        assert clip.shape == (3, 8, 32, 32)
        # The whole width is there, in the right order of time.
        assert clip[:, :, :, 20:].mean() == pytest.approx(50 * camera, abs=6)
        assert (np.diff(clip[:, :, :, :12].mean(axis=(0, 2, 3))) > 8).all()
    row = made.index.iloc[made.position(f"{name}_cam4")]
    assert (row["subject"], row["camera"], row["scene"], row["session"], row["action"]) == (
        14,
        4,
        2,
        1,
        "carrying_light",
    )
    assert made.card.class_names[row["label"]] == "carrying light"


def test_protocols_are_the_papers_rules_and_divide_no_performance(whole: Path):
    made = opened(whole, video=None)
    where = made.index.set_index("trial")
    for protocol, column, train, test in [
        ("cross_subject", "subject", {1}, {17}),
        ("cross_scene", "scene", {1, 3}, {2}),
        ("cross_session", "session", {1}, {5}),
        ("cross_view", "camera", {1}, {4}),
    ]:
        parts = split(made.card, made.index, protocol, validation=True, seed=3)
        values = {part: set(where.loc[list(trials), column]) for part, trials in parts.parts().items()}
        assert values["train"] == train, protocol
        assert values["test"] == test, protocol
        shared = set(where.loc[list(parts.train), "performance"]) & set(
            where.loc[list(parts.validation), "performance"]
        )
        assert not shared, protocol
        assert len(parts.validation) > 0
    without = split(made.card, made.index, "cross_subject", validation=False, seed=0)
    assert set(where.loc[list(without.train), "subject"]) == {1, 14}


def test_the_card_has_35_alphabetical_classes_and_vectors_for_them():
    card = load_card("mmact")
    assert len(card.class_names) == 35
    assert list(card.class_names) == sorted(card.class_names)
    from kdbench.recipes.terms import PartSpec
    from kdbench.semantic_spaces.base import load

    assert load(PartSpec(name="table"), card).vectors.shape == (35, 384)


def test_missing_and_empty_sensor_files_are_counted_and_left_out_on_request(data: Path):
    base = data / "mmact"
    (base / "gyro_clip/subject1/scene1/session1/carrying_light.csv").unlink()
    with pytest.raises(
        DataError, match=r"2 of the 36 trials of 'mmact' lack files \(2 in gyro_clip/subject1/scene1/session1/\)"
    ):
        opened(data, video=None)
    (base / "acc_watch_clip/subject17/scene2/session1/waving_hand.csv").write_text("\n")
    made = opened(data, video=None, exclude_broken=True)
    assert len(made) == 32
    reasons = list(made.excluded.values())
    assert sum("missing: gyro_clip/subject1/scene1/session1/carrying_light.csv" in reason for reason in reasons) == 2
    assert sum("is empty; expected rows of a time and three numbers" in reason for reason in reasons) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("20181014_15:58:00,1,2\n", "expected rows of a time and three numbers"),
        ("20181014_15:58:00,1,2,x\n", "expected rows of a time and three numbers"),
        ("20181014_15:58:00,1,2,nan\n20181014_15:58:01,1,2,3\n", "1 value that is not finite"),
        ("20181014_15:58:00,1,2,3\n", "has 1 sample, expected at least 2"),
    ],
)
def test_a_broken_sensor_file_is_named(data: Path, content: str, message: str):
    (data / "mmact/gyro_clip/subject1/scene1/session1/carrying_light.csv").write_text(content)
    with pytest.raises(DataError, match="2 trials are broken") as caught:
        opened(data, video=None)
    assert message in caught.value.message


def test_a_cut_off_video_is_named(data: Path):
    path = data / "mmact/trimmed/clips/subject1/cam4/scene1/session1/waving_hand.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"1 trial is broken.*\n.*cam4/scene1/session1/waving_hand\.mp4: "):
        opened(data)


def test_a_short_clip_repeats_frames(whole: Path):
    made = opened(whole, frames=30)
    assert made.clip("s1_scene1_session1_waving_hand_cam1").shape == (3, 30, 32, 32)


def test_without_videos_a_trial_is_a_performance(data: Path):
    (data / "mmact/trimmed").rename(data / "elsewhere")
    made = opened(data, video=None)
    assert len(made) == 18
    assert "camera" not in made.index
    with pytest.raises(UsageError, match="unknown column in protocol 'cross_view' of 'mmact' 'camera'"):
        split(made.card, made.index, "cross_view", validation=False, seed=0)
    with pytest.raises(DataError, match="no video of 'mmact' is there") as caught:
        opened(data)
    assert "https://mmact19.github.io/2019" in str(caught.value.hint)


def test_a_file_of_no_class_is_named(data: Path):
    folder = data / "mmact/trimmed/subject1/cam1/scene1/session1"
    write_mp4(folder / "dancing.mp4", 3, 1)
    (folder / "._walking.mp4").write_bytes(b"left by a file system")
    with pytest.raises(
        DataError, match=r"dancing\.mp4 is of no class of 'mmact': 'dancing'; expected one of carrying, "
    ):
        opened(data)


def test_it_verifies(whole: Path):
    from kdbench.data.store import layout, source

    opened(whole)
    card = load_card("mmact")
    report = verify(card, source.find(card, whole), layout.stores(), shown=False)
    assert report.sound
    assert report.unlisted == 36 + 18 * 4


def test_asking_for_it_is_explained():
    done = kdbench("data", "download", "mmact")
    assert done.returncode == 3
    assert "'mmact' cannot be downloaded by a command" in done.stderr
    assert "fill in the form on https://mmact19.github.io/2019" in done.stderr
    assert "DATA/mmact/acc_phone_clip/subject1/scene1/session1/carrying.csv" in done.stderr
    assert "DATA is one of the folders that are searched" in done.stderr


def test_frames_of_a_long_video_are_squeezed_to_a_square(tmp_path: Path):
    write_mp4(tmp_path / "long.mp4", 40, 1)
    content = (tmp_path / "long.mp4").read_bytes()
    frames, count, _ = video_file.decode(content, lambda n: centre_frames(n, 4), side=32)
    assert (frames.shape, count) == ((4, 32, 32, 3), 40)
    full, _, _ = video_file.decode(content, lambda n: centre_frames(n, 4))
    assert full.shape == (4, 90, 160, 3)
    assert np.abs(full[:, 45, 40].astype(int) - frames[:, 16, 8]).max() <= 3


def test_the_reader_is_registered():
    from kdbench.registry import registry

    assert registry("dataset").get("mmact") is MMAct


def test_a_tree_of_every_class_holds_what_the_card_promises(tmp_path: Path):
    card = load_card("mmact")
    desk = card.absent_labels(card.protocols["cross_scene"])
    assert len(desk) == 7
    data = tmp_path / "data"
    write_mp4(tmp_path / "clip.mp4", 15, 1)
    for subject, session in ((1, 1), (1, 2), (14, 1), (17, 5)):
        for label, name in enumerate(card.class_names):
            for scene in (3,) if label in desk else (1, 2):
                where, action = f"scene{scene}/session{session}", name.replace(" ", "_")
                for folder in SENSORS:
                    rows = rows_of(folder, subject, scene, session, name)
                    write_csv(data / f"mmact/{folder}/subject{subject}/{where}/{action}.csv", rows)
                for camera in (1, 4):
                    clip = data / f"mmact/trimmed/subject{subject}/cam{camera}/{where}/{action}.mp4"
                    clip.parent.mkdir(parents=True, exist_ok=True)
                    clip.symlink_to(tmp_path / "clip.mp4")
    report = check("dataset", "mmact", data_dir=data, trials=4)
    assert report.passed, str(report)
