"""Prepared data and packed copies are what was written, or are made again aloud, or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.data.store import layout, packed
from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset
from kdbench.data.store.pack import pack
from kdbench.errors import DataError

ACCELEROMETER = layout.series_file("accelerometer")


@pytest.fixture
def opened(card_path: Path) -> Callable[..., Dataset]:
    """Opens the recordings in a folder, small and silently."""

    def call(folder: Path | None, **changes: object) -> Dataset:
        arguments = {"frame_size": 16, "frames": 4, "progress": False} | changes
        return open_dataset(str(card_path), data_dir=folder, **arguments)

    return call


def signs_flipped(folder: Path) -> None:
    array = np.load(folder / ACCELEROMETER, mmap_mode="r+")
    array[:] = -array
    array.flush()


def one_bit(name: str, place: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return damage


def other_bytes_order(folder: Path) -> None:
    content = (folder / ACCELEROMETER).read_bytes()
    assert b"'<f4'" in content
    (folder / ACCELEROMETER).write_bytes(content.replace(b"'<f4'", b"'>f4'", 1))


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-4])


def meta(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / layout.META).read_text())
        (folder / layout.META).write_text(json.dumps(content | changes))

    return damage


DAMAGES = {
    "signs": signs_flipped,
    "bit of a series": one_bit(ACCELEROMETER, -5000),
    "bit of the video": one_bit(layout.VIDEO, -100),
    "bit of the index": one_bit(layout.INDEX, 500),
    "header": one_bit(ACCELEROMETER, 20),
    "byte order": other_bytes_order,
    "cut series": cut(ACCELEROMETER),
    "cut video": cut(layout.VIDEO),
    "no video": lambda folder: (folder / layout.VIDEO).unlink(),
    "fingerprint": meta(fingerprint="0" * 64),
    "series fingerprint": meta(series_fingerprint="0" * 64),
    "odd sizes": meta(sizes=[]),
    "odd key": meta(key={"a": 1}),
    "meta": one_bit(layout.META, 3),
    "no meta": lambda folder: (folder / layout.META).write_text("{}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_is_made_again(
    opened: Callable[..., Dataset], recordings: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    first = opened(recordings)
    series = {name: values.copy() for name, values in first.series("a1_s1_t1").items()}
    damage(first.folder)
    again = opened(recordings, progress=True)
    assert again.fingerprint == first.fingerprint
    assert all(np.array_equal(again.series("a1_s1_t1")[name], values) for name, values in series.items())
    assert not again.damaged()
    if layout.META not in damage.__name__ and "meta" not in damage.__name__:
        said = capsys.readouterr().err
        assert "Warning: the " in said or "Preparing" in said


def test_the_warning_names_the_store_and_a_trial(
    opened: Callable[..., Dataset], recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = opened(recordings).folder
    signs_flipped(folder)
    opened(recordings, progress=True)
    said = capsys.readouterr().err.replace("\n", "")
    assert f"Warning: the prepared {folder} is damaged" in said
    assert "24 trials are not what was written (a1_s1_t1" in said
    assert "it is made again from the recordings" in said


def test_a_damaged_store_without_recordings_is_refused_by_name(
    opened: Callable[..., Dataset], own_recordings: Path
) -> None:
    folder = opened(own_recordings).folder
    shutil.rmtree(own_recordings)
    signs_flipped(folder)
    with pytest.raises(DataError, match="24 trials are not what was written") as caught:
        opened(None)
    assert str(folder) in caught.value.message
    assert caught.value.hint is not None


def test_a_store_is_compared_once_a_process(
    opened: Callable[..., Dataset], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(recordings)
    monkeypatch.setattr(Dataset, "damaged", lambda _: pytest.fail("it was read a second time"))
    opened(recordings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index["trials"][0].update(label=2), "its sha256 is not the one in it"),
        (lambda index: index.update(trials=5, sha256=None), "is not the index of a packed copy"),
        (lambda index: index.update(coding=[], sha256=None), "is not the index of a packed copy"),
        (lambda index: index["coding"].update(frames=10**9, sha256=None), "is damaged"),
        (lambda index: index["trials"][0].update(trial="../../out", sha256=None), "is damaged"),
    ],
)
def test_a_packed_copy_with_a_damaged_index_is_refused(
    card_path: Path, dataset: Dataset, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    folder = pack(dataset, tmp_path / "packed", max_mib=1, shown=False)
    path = folder / packed.FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=said) as caught:
        open_dataset(str(card_path), data_dir=folder.parent, frame_size=16, frames=4, progress=False)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("trial", ["../../out", "a/b", "CON", "a\0b"])
def test_a_packed_copy_of_an_earlier_version_cannot_name_files_outside(
    card_path: Path, dataset: Dataset, tmp_path: Path, trial: str
) -> None:
    folder = pack(dataset, tmp_path / "packed", max_mib=1, shown=False)
    content = json.loads((folder / packed.FILE).read_text())
    del content[packed.SHA256]
    content["trials"][0]["trial"] = trial
    (folder / packed.FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match="the trial id"):
        open_dataset(str(card_path), data_dir=folder.parent, frame_size=16, frames=4, progress=False)
