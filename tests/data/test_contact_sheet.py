from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset
from kdbench.errors import UsageError
from kdbench.plotting.contact_sheet import contact_sheet, spread


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.slow
def test_the_sheet_grows_with_the_trials_and_shows_their_data(dataset: Dataset):
    one, two = (pixels(contact_sheet(dataset, names)) for names in (["a1_s1_t1"], ["a1_s1_t1", "a2_s1_t1"]))
    assert two.shape[0] > 1.5 * one.shape[0]
    assert two.shape[1] == one.shape[1] > 1000
    other = pixels(contact_sheet(dataset, ["a3_s2_t2"]))
    assert (np.abs(one - other).max(axis=2) > 30).mean() > 0.02
    # The background of the depth frames is black, the page white.
    assert 0.03 < (one.max(axis=2) < 20).mean() < 0.5
    assert (one.min(axis=2) > 250).mean() > 0.3


def test_a_dataset_without_video_has_curves_alone(card_path: Path, recordings: Path, dataset: Dataset):
    blind = open_dataset(str(card_path), data_dir=recordings, video=None, progress=False)
    seeing, curves = (pixels(contact_sheet(data, ["a1_s1_t1"])) for data in (dataset, blind))
    assert curves.shape[0] < seeing.shape[0]


def test_the_selection_is_spread_over_classes_and_subjects(dataset: Dataset):
    rows = dataset.index.set_index("trial").loc[spread(dataset, 3)]
    assert rows["label"].tolist() == [0, 1, 2]
    assert rows["subject"].nunique() > 1
    assert len(spread(dataset, 20)) <= 20


def test_an_unknown_trial(dataset: Dataset):
    with pytest.raises(UsageError, match="has no trial 'a99_s1_t1'"):
        contact_sheet(dataset, ["a99_s1_t1"])
