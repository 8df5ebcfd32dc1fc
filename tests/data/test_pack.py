from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_folders
import pytest
from recordings import write_card

from kdbench.data.store import packed
from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset
from kdbench.data.store.pack import pack
from kdbench.data.store.packed import sheet, sheet_columns, unsheet
from kdbench.errors import DataError, UsageError


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    """A data folder with a packed copy."""
    return pack(dataset, tmp_path / "packed", max_mib=1, shown=False).parent


def reopened(card: Path, folder: Path, **changes: object) -> Dataset:
    arguments = {"frame_size": 32, "frames": 8, "progress": False} | changes
    return open_dataset(str(card), data_dir=folder, **arguments)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_packed_copy_is_the_same_data_but_for_the_coding(dataset: Dataset, copy: Path, card_path: Path):
    data = reopened(card_path, copy)
    assert data.index.equals(dataset.index)
    assert data.series_fingerprint == dataset.series_fingerprint
    for trial in dataset.index["trial"]:
        for name, values in dataset.series(trial).items():
            assert np.array_equal(data.series(trial)[name], values)
    error = np.concatenate([data.clip(t).astype(float) - dataset.clip(t) for t in dataset.index["trial"]])
    measured = 10 * np.log10(255**2 / np.mean(error**2))
    assert data.packed is not None
    assert measured == pytest.approx(data.packed["psnr_db"], abs=0.5)
    assert measured > 35
    assert (data.packed["view"], data.packed["frames"], data.packed["side"]) == ("depth", 8, 32)
    assert data.packed["of"] == dataset.fingerprint


def test_the_coding_is_part_of_the_fingerprint(dataset: Dataset, copy: Path, card_path: Path):
    first = reopened(card_path, copy)
    assert first.fingerprint != dataset.fingerprint
    content = json.loads((copy / "utd_mhad" / packed.FILE).read_text())
    content["coding"]["quality"] -= 1
    del content[packed.SHA256]
    (copy / "utd_mhad" / packed.FILE).write_text(json.dumps(content))
    os.utime(copy / "utd_mhad" / packed.SERIES)
    assert reopened(card_path, copy).fingerprint != first.fingerprint


@pytest.mark.slow
def test_the_copy_keeps_to_its_budget_and_uses_it(card_path: Path, recordings: Path, tmp_path: Path):
    data = open_dataset(str(card_path), data_dir=recordings, frame_size=64, frames=16, progress=False)
    sizes, errors = [], []
    for number, mib in enumerate((0.22, 0.3, 0.5)):
        folder = pack(data, tmp_path / str(number), max_mib=mib, shown=False)
        sizes.append(size_of(folder))
        errors.append(json.loads((folder / packed.FILE).read_text())["coding"]["psnr_db"])
        assert sizes[-1] <= mib * 2**20
    assert sizes[0] < sizes[1] < sizes[2]
    assert errors[0] < errors[1] < errors[2]
    with pytest.raises(UsageError, match=r"does not fit into 0\.05 MiB"):
        pack(data, tmp_path / "small", max_mib=0.05, shown=False)
    assert not (tmp_path / "small" / "utd_mhad").exists()
    assert not list((tmp_path / "small").glob(".*"))


def test_other_sizes_can_be_opened_from_a_copy(copy: Path, card_path: Path):
    data = reopened(card_path, copy, frame_size=16, frames=4)
    assert data.clip("a1_s1_t1").shape == (1, 4, 16, 16)
    assert reopened(card_path, copy, video=None).view is None


def test_a_damaged_copy_is_named(copy: Path, card_path: Path):
    path = copy / "utd_mhad/sheets/a2_s1_t1.webp"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"trial a2_s1_t1: sheets/a2_s1_t1\.webp is damaged"):
        reopened(card_path, copy)
    (copy / "utd_mhad" / packed.SERIES).write_bytes(b"")
    with pytest.raises(DataError, match=r"series\.npz is damaged"):
        reopened(card_path, copy)
    (copy / "utd_mhad" / packed.FILE).write_text("{}")
    with pytest.raises(DataError, match="is not the index of a packed copy"):
        reopened(card_path, copy)


def test_a_copy_inherits_what_was_left_out(own_recordings: Path, card_path: Path, tmp_path: Path):
    (own_recordings / "utd_mhad/Depth/a1_s1_t1_depth.mat").unlink()
    data = reopened(card_path, own_recordings, exclude_broken=True)
    folder = pack(data, tmp_path / "packed", max_mib=1, shown=False).parent
    again = reopened(card_path, folder)
    assert again.excluded == data.excluded
    assert len(again) == 23


def test_what_cannot_be_packed(dataset: Dataset, copy: Path, card_path: Path, recordings: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="is a packed copy already"):
        pack(reopened(card_path, copy), tmp_path / "again", max_mib=1)
    blind = open_dataset(str(card_path), data_dir=recordings, video=None, progress=False)
    with pytest.raises(UsageError, match="was opened without video"):
        pack(blind, tmp_path / "again", max_mib=1)
    (tmp_path / "mine/utd_mhad").mkdir(parents=True)
    (tmp_path / "mine/utd_mhad/thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not a packed copy"):
        pack(dataset, tmp_path / "mine", max_mib=1)
    assert (tmp_path / "mine/utd_mhad/thesis.tex").exists()


def test_a_store_of_a_copy_is_opened_when_the_copy_is_gone(copy: Path, card_path: Path):
    before = reopened(card_path, copy)
    shutil.rmtree(copy / "utd_mhad")
    again = open_dataset(str(card_path), frame_size=32, frames=8, progress=False)
    assert again.fingerprint == before.fingerprint
    assert again.packed == before.packed
    assert again.packed is not None


def test_a_copy_of_another_dataset_is_refused(copy: Path, tmp_path: Path):
    (copy / "utd_mhad").rename(copy / "other")
    card = write_card(tmp_path, name="other")
    with pytest.raises(DataError, match="is of data set 'utd_mhad', format 1; expected 'other'"):
        reopened(card, copy)


def test_reading_a_copy_needs_neither_scipy_nor_av(copy: Path, card_path: Path):
    code = (
        "import sys; from pathlib import Path; from kdbench.data.store.open import open_dataset\n"
        f"d = open_dataset({str(card_path)!r}, data_dir=Path({str(copy)!r}), frame_size=32, frames=8, progress=False)\n"
        "print([m for m in ('scipy', 'av', 'torch', 'sklearn', 'matplotlib') if m in sys.modules], len(d))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[] 24", done.stderr


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (8, 4), (16, 4), (32, 8), (7, 7)])
def test_a_sheet_holds_every_frame(count: int, columns: int):
    from io import BytesIO

    from PIL import Image

    assert sheet_columns(count) == columns
    frames = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 255, (count, 2, 2, 3), np.uint8), 8, 1), 8, 2)
    buffer = BytesIO()
    Image.fromarray(sheet(frames, columns)).save(buffer, "WEBP", lossless=True)
    assert np.array_equal(unsheet(buffer.getvalue(), count, 16, 3), frames)
    with pytest.raises(DataError, match="expected"):
        unsheet(buffer.getvalue(), count, 8, 3)


def test_trials_that_lack_a_source_are_packed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    gone = ("anna/wave_1.mp4", "ben/clap_2.csv")
    path = own_folders.write_card(
        own_folders.write_folder(tmp_path / "own", without=gone), own_folders.card(files={"folder": None})
    )
    options = {"frame_size": 32, "frames": 8, "progress": False}
    whole = open_dataset(str(path), data_dir=tmp_path, **options)
    folder = pack(whole, tmp_path / "packed", max_mib=1, shown=False).parent
    assert len(list((folder / "own/sheets").iterdir())) == 11
    copy = open_dataset(str(path), data_dir=folder, **options)
    assert copy.packed is not None
    assert copy.series_fingerprint == whole.series_fingerprint
    for trial in whole.index["trial"]:
        assert copy.lacks(trial) == whole.lacks(trial)
        np.testing.assert_array_equal(copy.series(trial)["accelerometer"], whole.series(trial)["accelerometer"])
    assert {trial: copy.lacks(trial) for trial in copy.index["trial"] if copy.lacks(trial)} == {
        "anna_wave_1": {"video"},
        "ben_clap_2": {"accelerometer"},
    }
    assert len(copy.having(["video"])) == 11
    assert not copy.clip("anna_wave_1").any()
    assert json.loads((folder / "own" / packed.FILE).read_text())["format"] == packed.WITH_GAPS
