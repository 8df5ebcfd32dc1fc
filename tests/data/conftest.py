"""Fixtures of the data tests: small recordings, a card for them, and a cache of each test's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from recordings import TRIALS, write_card, write_trial

from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 24 whole trials; not to be changed."""
    folder = tmp_path_factory.mktemp("recordings")
    for trial in TRIALS:
        write_trial(folder / "utd_mhad", trial)
    return folder


@pytest.fixture
def own_recordings(recordings: Path, tmp_path: Path) -> Path:
    """A copy of the data folder that a test may damage."""
    return Path(shutil.copytree(recordings, tmp_path / "own"))


@pytest.fixture(scope="session")
def card_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped card of UTD-MHAD, cut down to the trials of `recordings`, without its manifest."""
    return write_card(tmp_path_factory.mktemp("card"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; only recordings that a test names are found."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KDBENCH_CACHE", str(folder))
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(scope="session")
def dataset(card_path: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The recordings, opened small; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_dataset(str(card_path), data_dir=recordings, frame_size=32, frames=8, progress=False)


@pytest.fixture
def prepared(dataset: Dataset, cache: Path) -> Path:
    """A copy of the store of `dataset` in the test's own cache."""
    return Path(shutil.copytree(dataset.folder, cache / "prepared" / dataset.folder.name))
