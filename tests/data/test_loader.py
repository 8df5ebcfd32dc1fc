from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from kdbench.data.loader import AHEAD, Loader
from kdbench.data.readers.timeline import resample
from kdbench.data.store.dataset import Dataset
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, UsageError

CPU = torch.device("cpu")
SENSORS = ["gyroscope", "accelerometer"]


def loader_of(dataset: Dataset, trials: list[str] | None = None, **changes: object) -> Loader:
    arguments = {"device": CPU, "series_length": 20, "sources": [*SENSORS, "video"], "in_memory": True} | changes
    return Loader(dataset, trials or list(dataset.index["trial"]), **arguments)


def test_a_batch_is_its_trials(dataset: Dataset):
    trials = ["a3_s1_t2", "a1_s2_t1", "a2_s4_t1"]
    loader = loader_of(dataset, trials)
    (batch,) = loader.batches([2, 0], 8)
    assert batch.trial == ("a2_s4_t1", "a3_s1_t2")
    assert batch.label.tolist() == [1, 2]
    assert batch.index.tolist() == [2, 0]
    assert batch.label.dtype == batch.index.dtype == torch.int64
    assert {name: list(values) for name, values in batch.metadata.items()} == {
        "action": [2, 3],
        "subject": [4, 1],
        "repetition": [1, 2],
    }
    assert batch.video is not None
    assert batch.video.dtype == torch.uint8
    for row, trial in enumerate(batch.trial):
        assert np.array_equal(batch.video[row].numpy(), dataset.clip(trial))
        for name in SENSORS:
            expected = resample(dataset.series(trial)[name], 20)
            assert np.array_equal(batch.sensors[name][row].numpy(), expected)
    assert loader.labels.tolist() == [2, 0, 1]
    assert loader.all_series("gyroscope").shape == (3, 3, 20)


@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_streaming_gives_the_same_batches_bit_for_bit(dataset: Dataset, batch_size: int):
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(1))
    kept, streamed = loader_of(dataset), loader_of(dataset, in_memory=False)
    for _ in range(2):
        pairs = list(zip(kept.batches(order, batch_size), streamed.batches(order, batch_size), strict=True))
        assert len(pairs) == -(-len(dataset) // batch_size)
        for a, b in pairs:
            assert (a.trial, a.metadata["subject"].tolist()) == (b.trial, b.metadata["subject"].tolist())
            assert torch.equal(a.video, b.video)
            assert torch.equal(a.label, b.label)
            assert torch.equal(a.index, b.index)
            assert all(torch.equal(a.sensors[name], b.sensors[name]) for name in SENSORS)
    assert [len(a) for a, _ in pairs][-1] == (len(dataset) % batch_size or min(batch_size, len(dataset)))


@pytest.mark.parametrize("in_memory", [True, False])
def test_every_trial_comes_once_in_the_order_that_is_asked_for(dataset: Dataset, in_memory: bool):
    loader = loader_of(dataset, in_memory=in_memory)
    order = list(reversed(range(len(loader))))
    seen = [trial for batch in loader.batches(order, 7) for trial in batch.trial]
    assert seen == list(reversed(loader.trials))


def test_a_stream_that_is_given_up_leaves_no_thread_and_can_begin_anew(dataset: Dataset):
    loader = loader_of(dataset, in_memory=False)
    before = threading.active_count()
    for batch in loader.batches(range(24), 2):
        first = batch
        break
    again = next(iter(loader.batches(range(24), 2)))
    assert torch.equal(first.video, again.video)
    del again
    for thread in threading.enumerate():
        if thread.name.startswith("kdbench-loader"):
            thread.join(timeout=5)
    assert threading.active_count() == before


def test_streaming_reads_ahead_but_not_everything(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    clips = Dataset.clips

    def noting(self: Dataset, rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return clips(self, rows)

    monkeypatch.setattr(Dataset, "clips", noting)
    stream = loader_of(dataset, in_memory=False).batches(range(24), 1)
    next(stream)
    time.sleep(0.3)
    stream.close()
    assert len(read) == AHEAD + 1


def test_waiting_is_measured(dataset: Dataset):
    loader = loader_of(dataset, in_memory=False)
    assert loader.waited_seconds == 0
    list(loader.batches(range(24), 4))
    once = loader.waited_seconds
    assert once > 0
    list(loader.batches(range(24), 4))
    assert loader.waited_seconds > once


def test_only_what_is_needed_is_loaded(dataset: Dataset):
    (batch,) = loader_of(dataset, ["a1_s1_t1"], sources=["video"]).batches([0], 1)
    assert batch.sensors == {}
    (batch,) = loader_of(dataset, ["a1_s1_t1"], sources=["gyroscope"]).batches([0], 1)
    assert batch.video is None
    assert list(batch.sensors) == ["gyroscope"]


def test_a_failing_read_reaches_the_caller(dataset: Dataset, monkeypatch: pytest.MonkeyPatch):
    loader = loader_of(dataset, in_memory=False)

    def failing(self: Dataset, rows: np.ndarray) -> np.ndarray:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Dataset, "clips", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        list(loader.batches(range(24), 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ["gyroscop"]}, "data set 'utd_mhad' has no source 'gyroscop'; did you mean 'gyroscope'"),
        ({"trials": ["a9_s9_t9"]}, "'utd_mhad' has no trial 'a9_s9_t9'"),
    ],
)
def test_what_is_not_there_is_named(dataset: Dataset, changes: dict, message: str):
    with pytest.raises(UsageError, match=message):
        loader_of(dataset, **changes)


def test_a_loader_needs_trials_and_video_where_it_is_asked_for(dataset: Dataset, card_path, recordings):
    with pytest.raises(UsageError, match="at least one trial"):
        Loader(dataset, [], device=CPU, series_length=8, sources=["video"], in_memory=True)
    blind = open_dataset(str(card_path), data_dir=recordings, video=None, progress=False)
    with pytest.raises(UsageError, match="was opened without video"):
        loader_of(blind)
    with pytest.raises((UsageError, DataError), match="was opened without video"):
        blind.clip("a1_s1_t1")
    with pytest.raises(UsageError, match="unknown sensor of this loader"):
        loader_of(blind, sources=["gyroscope"]).all_series("accelerometer")


@pytest.mark.gpu
def test_on_a_gpu_both_ways_agree_without_waiting_for_it(dataset: Dataset):
    device = torch.device("cuda")
    order = torch.randperm(len(dataset))
    kept, streamed = (loader_of(dataset, device=device, in_memory=mode) for mode in (True, False))
    torch.cuda.set_sync_debug_mode("error")
    try:
        pairs = list(zip(kept.batches(order, 5), streamed.batches(order, 5), strict=True))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for a, b in pairs:
        assert a.video.is_cuda
        assert torch.equal(a.video, b.video)
        assert all(torch.equal(a.sensors[name], b.sensors[name]) for name in SENSORS)
        for row, trial in enumerate(a.trial):
            assert np.array_equal(a.video[row].cpu().numpy(), dataset.clip(trial))
