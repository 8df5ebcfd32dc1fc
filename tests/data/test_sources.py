"""Sources beside the sensors and one view: joints and further views, each in a store of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import TRIALS, save

from kdbench.data.loader import Loader
from kdbench.data.readers import skeleton
from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, UsageError


def joints_of(trial: str) -> np.ndarray:
    """Positions `(F, 20, 3)` in metres."""
    drawn = np.random.default_rng(len(trial) + TRIALS.index(trial))
    return np.cumsum(0.01 * drawn.standard_normal((30 + TRIALS.index(trial), 20, 3)), axis=0) + np.arange(20)[:, None]


@pytest.fixture
def with_joints(own_recordings: Path) -> Path:
    (own_recordings / "utd_mhad/Skeleton").mkdir()
    for trial in TRIALS:
        save(own_recordings / f"utd_mhad/Skeleton/{trial}_skeleton.mat", d_skel=joints_of(trial).transpose(1, 2, 0))
    return own_recordings


def opened(card: Path, data: Path, *beside: str, **more: object) -> Dataset:
    return open_dataset(
        str(card), data_dir=data, frame_size=16, frames=4, video="depth", progress=False, beside=beside, **more
    )


def test_joints_are_a_series_beside_the_sensors(card_path: Path, with_joints: Path) -> None:
    alone, both = opened(card_path, with_joints), opened(card_path, with_joints, "skeleton")
    assert both.fingerprint == alone.fingerprint
    assert both.sources == {**alone.sensors, "video": 1, "skeleton": 60}
    expected = skeleton.normalised(joints_of(TRIALS[3]))
    np.testing.assert_array_equal(both.series(TRIALS[3])["skeleton"], expected.reshape(len(expected), 60))
    assert "skeleton" not in alone.series(TRIALS[3])
    assert both.beside["skeleton"].series_fingerprint != both.series_fingerprint
    again = opened(card_path, with_joints, "skeleton")
    assert again.beside["skeleton"].folder == both.beside["skeleton"].folder


def test_a_second_view_is_the_clips_of_that_view(card_path: Path, with_joints: Path) -> None:
    both = opened(card_path, with_joints, "video:skeleton")
    drawn = open_dataset(
        str(card_path), data_dir=with_joints, frame_size=16, frames=4, video="skeleton", progress=False
    )
    loader = Loader(
        both,
        TRIALS[:5],
        device=torch.device("cpu"),
        series_length=10,
        sources=["video", "video:skeleton"],
        in_memory=True,
    )
    (batch,) = loader.batches([4, 0], 2)
    assert batch.video is not None
    for row, trial in enumerate((TRIALS[4], TRIALS[0])):
        np.testing.assert_array_equal(batch.video[row].numpy(), both.clip(trial))
        np.testing.assert_array_equal(batch.raw("video:skeleton")[row].numpy(), drawn.clip(trial))
        np.testing.assert_array_equal(both.clip(trial, "video:skeleton"), drawn.clip(trial))
    assert both.source("video:depth") == "video"
    assert not batch.sensors


def test_a_trial_without_joints_is_left_out_on_request_alone(card_path: Path, with_joints: Path) -> None:
    (with_joints / f"utd_mhad/Skeleton/{TRIALS[2]}_skeleton.mat").unlink()
    with pytest.raises(DataError, match="incomplete"):
        opened(card_path, with_joints, "skeleton")
    fewer = opened(card_path, with_joints, "skeleton", exclude_broken=True)
    assert len(fewer) == len(TRIALS) - 1
    assert TRIALS[2] in fewer.excluded
    assert sorted(fewer.index["trial"]) == sorted(trial for trial in TRIALS if trial != TRIALS[2])
    loader = Loader(
        fewer,
        list(fewer.index["trial"]),
        device=torch.device("cpu"),
        series_length=10,
        sources=["skeleton", "accelerometer"],
        in_memory=True,
    )
    (batch,) = loader.batches([3], 1)
    np.testing.assert_array_equal(
        loader.labels.numpy(), [int(fewer.index.set_index("trial").loc[trial, "label"]) for trial in loader.trials]
    )
    assert batch.sensors["skeleton"].shape == (1, 60, 10)


def test_what_is_not_there_is_named(card_path: Path, recordings: Path) -> None:
    with pytest.raises(DataError, match="the joints of the skeleton of 'utd_mhad' are not there"):
        opened(card_path, recordings, "skeleton")
    with pytest.raises(UsageError, match="no skeleton 'skeletn'; did you mean 'skeleton'"):
        opened(card_path, recordings, "skeletn")
