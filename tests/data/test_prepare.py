"""Preparing: the same everywhere, resumable, and outspoken about what is broken."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pytest
from recordings import TRIALS, save, start_opening, write_card, write_video

from kdbench.data.card import load_card
from kdbench.data.store import layout
from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset
from kdbench.data.store.pack import pack
from kdbench.errors import DataError, RunFailed, UsageError


@pytest.fixture
def opened(card_path: Path) -> Callable[..., Dataset]:
    """Opens the recordings in a folder, small and silently."""

    def call(folder: Path | None, **changes: object) -> Dataset:
        arguments = {"frame_size": 32, "frames": 8, "progress": False} | changes
        return open_dataset(str(card_path), data_dir=folder, **arguments)

    return call


def parts_of(cache: Path) -> dict[str, int]:
    """Time of each finished part, by name."""
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("prepared/*/parts/*.npz")}


def broken_inertial(folder: Path, trial: str) -> None:
    path = folder / f"utd_mhad/Inertial/{trial}_inertial.mat"
    path.write_bytes(path.read_bytes()[:300])


def test_a_dataset_is_the_recordings(dataset: Dataset):
    data = dataset
    assert data.index["trial"].tolist() == TRIALS
    assert data.index.columns.tolist() == ["trial", "label", "action", "subject", "repetition"]
    assert data.index["label"].tolist() == (data.index["action"] - 1).tolist()
    assert (data.view, data.view_reason, data.video_channels) == ("depth", "rgb not there", 1)
    assert data.sensors == {"accelerometer": 3, "gyroscope": 3}
    assert data.clip("a2_s3_t1").shape == (1, 8, 32, 32)
    assert data.series("a2_s3_t1")["gyroscope"].shape[1] == 3
    assert isinstance(data.clip("a2_s3_t1"), np.memmap)
    assert data.unverified == data.excluded == {}
    assert data.packed is None


def test_the_real_recordings_prepare_and_verify(data_dir: Path, tmp_path: Path):
    folder = tmp_path / "some"
    names = [f"a{action}_s{subject}_t1" for action in (1, 27) for subject in (1, 2)]
    for kind, ending in (("Inertial", "inertial"), ("Depth", "depth")):
        (folder / "utd_mhad" / kind).mkdir(parents=True)
        for name in names:
            file = f"{kind}/{name}_{ending}.mat"
            (folder / "utd_mhad" / file).symlink_to(data_dir / "utd_mhad" / file)
    with pytest.raises(DataError, match="857 of the 861 trials of 'utd_mhad' lack files"):
        open_dataset("utd_mhad", data_dir=folder, progress=False)
    data = open_dataset("utd_mhad", data_dir=folder, progress=False, exclude_broken=True)
    assert sorted(data.index["trial"]) == sorted(names)
    assert data.unverified == {}
    assert data.clip("a27_s2_t1").shape == (1, 16, 64, 64)
    assert not data.damaged()


@pytest.mark.usefixtures("prepared")
def test_the_fingerprint_is_the_content_and_nothing_else(opened, recordings: Path, own_recordings: Path, cache: Path):
    first = opened(recordings)
    assert opened(recordings).folder == first.folder
    moved = opened(own_recordings, jobs=1)
    assert moved.folder != first.folder
    assert moved.fingerprint == first.fingerprint
    assert opened(recordings, frames=4).fingerprint != first.fingerprint
    assert opened(recordings, frame_size=16).fingerprint != first.fingerprint
    sensors = opened(recordings, video=None)
    assert sensors.fingerprint != first.fingerprint
    assert sensors.series_fingerprint == first.series_fingerprint
    assert sensors.video_channels == 0
    assert sensors.view_reason == "not needed"


def test_a_changed_file_is_noticed(opened, own_recordings: Path):
    before = opened(own_recordings)
    values = before.series("a1_s1_t1")
    stacked = np.concatenate([values["accelerometer"], values["gyroscope"] + 1], axis=1).astype(np.float64)
    save(own_recordings / "utd_mhad/Inertial/a1_s1_t1_inertial.mat", d_iner=stacked)
    after = opened(own_recordings)
    assert after.fingerprint != before.fingerprint
    assert np.allclose(after.series("a1_s1_t1")["gyroscope"], values["gyroscope"] + 1, atol=1e-3)


def test_all_broken_files_are_named_at_once_and_the_rest_is_kept(opened, own_recordings: Path, cache: Path):
    broken_inertial(own_recordings, "a1_s2_t1")
    (own_recordings / "utd_mhad/Depth/a3_s4_t2_depth.mat").write_bytes(b"no")
    with pytest.raises(DataError) as caught:
        opened(own_recordings)
    message, hint = caught.value.message, caught.value.hint
    assert "2 trials are broken" in message
    assert "trial a1_s2_t1: Inertial/a1_s2_t1_inertial.mat" in message
    assert "trial a3_s4_t2: Depth/a3_s4_t2_depth.mat" in message
    assert hint is not None
    assert "--exclude-broken" in hint
    kept = parts_of(cache)
    assert len(kept) == 22
    with pytest.raises(DataError):
        opened(own_recordings)
    assert parts_of(cache) == kept


def test_a_mended_file_is_taken_without_doing_the_rest_again(
    opened, own_recordings: Path, recordings: Path, cache: Path, dataset: Dataset
):
    broken_inertial(own_recordings, "a1_s2_t1")
    with pytest.raises(DataError):
        opened(own_recordings)
    good = "utd_mhad/Inertial/a1_s2_t1_inertial.mat"
    (own_recordings / good).write_bytes((recordings / good).read_bytes())
    assert opened(own_recordings).fingerprint == dataset.fingerprint


def test_broken_trials_are_left_out_on_request_and_the_fingerprint_says_so(
    opened, own_recordings: Path, dataset: Dataset
):
    broken_inertial(own_recordings, "a1_s2_t1")
    data = opened(own_recordings, exclude_broken=True)
    assert "a1_s2_t1" not in set(data.index["trial"])
    assert len(data) == 23
    assert "cannot be read as a MATLAB file" in data.excluded["a1_s2_t1"]
    assert data.fingerprint != dataset.fingerprint
    with pytest.raises(DataError, match="trial a1_s2_t1 of 'utd_mhad' was excluded"):
        data.clip("a1_s2_t1")
    with pytest.raises(DataError, match="was prepared without 1 trial:\n  a1_s2_t1: trial a1_s2_t1: Inertial"):
        opened(own_recordings)


def test_half_the_trials_missing(opened, own_recordings: Path, cache: Path):
    for trial in TRIALS[::2]:
        (own_recordings / f"utd_mhad/Depth/{trial}_depth.mat").unlink()
    with pytest.raises(
        DataError, match=r"12 of the 24 trials .* lack files \(12 in Depth/\): a1_s1_t1, a1_s2_t1"
    ) as caught:
        opened(own_recordings)
    assert caught.value.exit_code == 3
    assert not parts_of(cache)
    data = opened(own_recordings, exclude_broken=True)
    assert data.index["trial"].tolist() == TRIALS[1::2]
    assert data.excluded["a1_s1_t1"] == "missing: Depth/a1_s1_t1_depth.mat"


def test_nothing_usable(opened, own_recordings: Path):
    for trial in TRIALS:
        broken_inertial(own_recordings, trial)
    with pytest.raises(DataError, match=r"no trial of 'utd_mhad' in .* can be used"):
        opened(own_recordings, exclude_broken=True)


def test_missing_recordings_say_where_to_get_and_put_them(opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "elsewhere"))
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "given")
    places = ["given/utd_mhad", "elsewhere/utd_mhad", "data/utd_mhad", "cache/data/utd_mhad"]
    positions = [caught.value.message.index(str(tmp_path / place)) for place in places]
    assert positions == sorted(positions)
    hint = caught.value.hint
    assert hint is not None
    for expected in ("UTD-MHAD.html", "Depth.zip", "utd_mhad/Inertial/a1_s1_t1_inertial.mat", "--data-dir", "cited"):
        assert expected in hint


def test_a_data_dir_that_is_the_dataset_itself_is_pointed_out(opened, recordings: Path):
    with pytest.raises(DataError, match="holds the recordings itself"):
        opened(recordings / "utd_mhad")


def test_a_data_dir_that_does_not_exist(opened, tmp_path: Path):
    with pytest.raises(UsageError, match="does not exist"):
        opened(tmp_path / "nowhere")


@pytest.mark.usefixtures("prepared")
def test_views(opened, recordings: Path):
    assert opened(recordings, video="depth").view_reason == "asked"
    with pytest.raises(DataError, match=r"the rgb video of 'utd_mhad' is not there \(depth is\)") as caught:
        opened(recordings, video="rgb")
    assert "RGB.zip" in str(caught.value.hint)
    with pytest.raises(UsageError, match="data set 'utd_mhad' has no video view 'dept'; did you mean 'depth'"):
        opened(recordings, video="dept")


def test_colour_is_the_default_where_it_is_there(opened, own_recordings: Path, tmp_path: Path):
    frames = np.zeros((12, 48, 64, 3), np.uint8)
    frames[:, :, 8:56] = (200, 40, 90)
    write_video(own_recordings / f"utd_mhad/RGB/{TRIALS[0]}_color.avi", frames)
    for trial in TRIALS[1:]:
        path = own_recordings / f"utd_mhad/RGB/{trial}_color.avi"
        path.hardlink_to(own_recordings / f"utd_mhad/RGB/{TRIALS[0]}_color.avi")
    data = opened(own_recordings)
    assert (data.view, data.view_reason, data.video_channels) == ("rgb", "default", 3)
    clip = data.clip("a2_s2_t2").astype(int)
    assert clip.shape == (3, 8, 32, 32)
    assert np.abs(clip.mean(axis=(1, 2, 3)) - [200, 40, 90]).max() < 6
    folder = pack(data, tmp_path / "packed", max_mib=1, shown=False).parent
    copy = opened(folder)
    assert (copy.view, copy.video_channels) == ("rgb", 3)
    assert np.abs(copy.clip("a2_s2_t2").astype(int) - clip).mean() < 6
    assert opened(own_recordings, video="depth").view_reason == "asked"


def test_without_the_recordings_a_prepared_store_is_opened(opened, own_recordings: Path):
    before = opened(own_recordings)
    own_recordings.rename(own_recordings.with_name("away"))
    again = opened(None)
    assert again.fingerprint == before.fingerprint
    assert np.array_equal(again.clip("a1_s1_t1"), before.clip("a1_s1_t1"))
    with pytest.raises(DataError, match="are not there"):
        opened(None, frames=3)


@pytest.mark.slow
def test_a_killed_preparation_goes_on_where_it_was(
    card_path: Path, recordings: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    process = start_opening(card_path, recordings, size=224, frames=32)
    while len(parts_of(cache)) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    left = parts_of(cache)
    assert 5 <= len(left) < 24, "killed too late to tell"
    watched = next(cache.glob("prepared/*/parts"))
    # What a process leaves that is killed while it joins the parts.
    watched.with_name(".video.npy.1.tmp").write_bytes(b"half a video")
    second = start_opening(card_path, recordings, size=224, frames=32)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert f"{len(left)} of 24 trials are done" in err
    assert not watched.exists()
    assert not list(cache.rglob("*.tmp"))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "another"))
    whole = open_dataset(str(card_path), data_dir=recordings, frame_size=224, frames=32, progress=False)
    assert out.strip() == whole.fingerprint


def test_a_killed_preparation_equals_one_that_was_not(
    opened, recordings: Path, own_recordings: Path, cache: Path, dataset: Dataset
):
    for trial in TRIALS[10:]:
        broken_inertial(own_recordings, trial)
    with pytest.raises(DataError):
        opened(own_recordings)
    assert len(parts_of(cache)) == 10
    for trial in TRIALS[10:]:
        name = f"utd_mhad/Inertial/{trial}_inertial.mat"
        (own_recordings / name).write_bytes((recordings / name).read_bytes())
    assert opened(own_recordings).fingerprint == dataset.fingerprint


def test_a_damaged_part_is_made_again(opened, own_recordings: Path, recordings: Path, cache: Path, dataset: Dataset):
    broken_inertial(own_recordings, "a1_s1_t1")
    with pytest.raises(DataError):
        opened(own_recordings)
    part = next(cache.glob("prepared/*/parts/a2_s1_t1.npz"))
    part.write_bytes(part.read_bytes()[:100])
    name = "utd_mhad/Inertial/a1_s1_t1_inertial.mat"
    (own_recordings / name).write_bytes((recordings / name).read_bytes())
    assert opened(own_recordings).fingerprint == dataset.fingerprint


def test_a_part_whose_file_changed_is_made_again(opened, own_recordings: Path, recordings: Path, cache: Path):
    broken_inertial(own_recordings, "a1_s1_t1")
    with pytest.raises(DataError):
        opened(own_recordings)
    before = parts_of(cache)
    root = own_recordings / "utd_mhad/Inertial"
    (root / "a2_s1_t1_inertial.mat").write_bytes((root / "a2_s1_t2_inertial.mat").read_bytes())
    with pytest.raises(DataError):
        opened(own_recordings)
    changed = {name for name, written in parts_of(cache).items() if written != before[name]}
    assert changed == {"a2_s1_t1.npz"}


@pytest.mark.slow
@pytest.mark.usefixtures("prepared")
def test_two_processes_at_once(opened, card_path: Path, recordings: Path, cache: Path):
    folder = opened(recordings).folder
    (folder / layout.META).unlink()
    with filelock.FileLock(f"{folder}.lock"):
        process = start_opening(card_path, recordings, size=32, frames=8)
        assert process.stderr is not None
        assert "Another process prepares utd_mhad" in process.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        assert not (folder / layout.META).exists()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.strip() == opened(recordings).fingerprint


@pytest.mark.slow
def test_a_full_disk_is_a_clear_error_and_loses_nothing(card_path: Path, recordings: Path, cache: Path):
    # A part takes 70 kB, the joined video 1.5 MB.
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, {resource.RLIM_INFINITY}))\n"
    process = start_opening(card_path, recordings, before=limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the disk is full while writing" in err
    assert "video.npy" in err
    assert "KDBENCH_CACHE" in err
    assert len(parts_of(cache)) == 24
    assert not list(cache.rglob("*.tmp"))
    second = start_opening(card_path, recordings)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert "24 of 24 trials are done" in err
    assert len(out.strip()) == 64


def test_a_cache_that_cannot_be_written(opened, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunFailed, match=r"cannot write .*(Not a directory|File exists)"):
        opened(recordings)


def test_files_that_differ_from_the_manifest_are_recorded(
    tmp_path: Path, recordings: Path, capfd: pytest.CaptureFixture[str]
):
    root = recordings / "utd_mhad"
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(root)}" for p in root.rglob("*.mat")]
    wrong = next(line for line in lines if "a2_s1_t1_inertial" in line)
    lines[lines.index(wrong)] = "0" * 64 + wrong[64:]
    (tmp_path / "m.sha256").write_text("\n".join(lines))
    card = write_card(tmp_path, manifest="m.sha256")
    data = open_dataset(str(card), data_dir=recordings, frame_size=32, frames=8)
    assert list(data.unverified) == ["Inertial/a2_s1_t1_inertial.mat"]
    assert "1 file of 'utd_mhad' differs from its manifest" in capfd.readouterr().err


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("name", ["video.npy", "index.parquet", "series.gyroscope.npy"])
def test_a_store_that_lost_something_is_made_again(opened, recordings: Path, name: str):
    data = opened(recordings)
    (data.folder / name).write_bytes(b"")
    again = opened(recordings)
    assert again.fingerprint == data.fingerprint
    assert not again.damaged()


def test_generated_data_need_no_files_and_take_knobs(cache: Path):
    knobs = {"actions": 3, "subjects": 2, "trials": 1}
    data = open_dataset("motionsim", frame_size=16, frames=4, progress=False, options=knobs)
    assert len(data) == 6
    assert len(data.card.classes) == 3
    other = open_dataset("motionsim", frame_size=16, frames=4, progress=False, options=knobs | {"noise": 0.5})
    assert other.fingerprint != data.fingerprint
    with pytest.raises(UsageError, match="data set 'motionsim' has no option 'nois'; did you mean 'noise'"):
        open_dataset("motionsim", options={"nois": 1})
    assert load_card("motionsim").options["actions"] > 3
