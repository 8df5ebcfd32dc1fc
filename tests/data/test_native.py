"""Series at their native lengths, as batches hold them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdbench.data.loader import Loader
from kdbench.data.native import NativeSeries, pad
from kdbench.data.store.dataset import Dataset
from kdbench.errors import UsageError

CPU = torch.device("cpu")


def loader_of(dataset: Dataset, *sources: str, **changes: object) -> Loader:
    given = {"device": CPU, "series_length": 20, "sources": sources, "in_memory": True} | changes
    return Loader(dataset, list(dataset.index["trial"]), **given)


@pytest.mark.parametrize("sources", [("native:gyroscope",), ("native:gyroscope", "gyroscope", "video")])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_batch_holds_the_series_as_recorded(dataset: Dataset, sources: tuple[str, ...], in_memory: bool):
    loader = loader_of(dataset, *sources, in_memory=in_memory)
    assert set(loader.sensors) == set(sources) - {"video"}
    for batch in loader.batches([5, 0, 23, 7], 3):
        padded = batch.sensors["native:gyroscope"]
        recorded = [dataset.series(trial)["gyroscope"] for trial in batch.trial]
        assert padded.shape == (len(batch), 3, max(map(len, recorded)))
        assert padded.dtype == torch.float32
        for row, series in zip(padded, recorded, strict=True):
            assert np.array_equal(row[:, : len(series)].numpy(), series.T)
            assert row[:, len(series) :].isnan().all()
        if "gyroscope" in sources:
            assert batch.raw("gyroscope").shape[2] == 20


def test_all_series_lie_end_to_end(dataset: Dataset):
    values = loader_of(dataset, "native:gyroscope").all_series("native:gyroscope")
    series = [dataset.series(trial)["gyroscope"] for trial in dataset.index["trial"]]
    assert np.array_equal(values[0].numpy(), np.concatenate(series).T)


@pytest.mark.parametrize("source", ["native:video", "native:", "native:gyroskope"])
def test_what_has_no_native_series_is_refused(dataset: Dataset, source: str):
    with pytest.raises(UsageError, match=f"has no source '{source}'"):
        loader_of(dataset, source)


def test_short_trials_end_where_they_end():
    kept = NativeSeries([np.full((n, 2), n) for n in (3, 1, 5, 2)], CPU)
    rows = kept.rows(np.array([3, 1]), torch.tensor([3, 1]))
    assert rows.shape == (2, 2, 2)
    assert rows[0].tolist() == [[2, 2], [2, 2]]
    assert rows[1, :, 0].tolist() == [1, 1]
    assert rows[1, :, 1].isnan().all()
    assert torch.equal(kept.rows(np.array([3]), torch.tensor([3])), rows[:1])


def test_padding_keeps_what_is_there():
    assert torch.equal(pad(torch.ones(2, 3), 3), torch.ones(2, 3))
    assert pad(torch.ones(2, 3), 5).isnan().sum() == 4
