"""Trials of one part as batches: all in memory on the device, or streamed from the memory map ahead of use.

Both give the same batches bit for bit. Neither makes the host wait for the device.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from kdbench.data.native import NativeSeries
from kdbench.data.readers.timeline import resample
from kdbench.data.store.open import Dataset
from kdbench.errors import UsageError, unknown
from kdbench.types import VIDEO, Batch, is_native, is_video, native, recorded

AHEAD = 3
"""Batches that streaming prepares ahead of the one in use."""


class Loader:
    """Batches of some trials of a data set.

    Series are small and are kept on the device, resampled linearly to `series_length`, or at their native lengths where
    that is what is asked for. Video stays uint8.

    Args:
        dataset: The opened data set.
        trials: Ids of the part's trials; a batch's `index` counts in this order.
        device: Where the tensors go.
        series_length: Samples of a series that is resampled.
        sources: What is needed: sensors, skeletons, `native:NAME` for the native lengths of one, `video`, `video:NAME`.
        in_memory: Keep all clips on the device; otherwise stream them from the memory map.
        labelled: Trials whose label batches may show; that of the others is -1. None: all.

    Attributes:
        trials: The ids.
        labels: Class indices `(N,)`, int64, on the device.
        waited_seconds: How long the caller has waited for batches so far.

    Raises:
        UsageError: An unknown source or trial, no trials, or video of a data set that was opened without.
    """

    def __init__(
        self,
        dataset: Dataset,
        trials: Sequence[str],
        *,
        device: torch.device,
        series_length: int,
        sources: Collection[str],
        in_memory: bool,
        labelled: Sequence[str] | None = None,
    ) -> None:
        if VIDEO in sources and dataset.view is None:
            raise UsageError(
                f"'{dataset.card.name}' was opened without video, which this network needs",
                hint="Name a view when it is opened: open_dataset(…, video='auto')",
            )
        for name in sources:
            if recorded(name) not in dataset.sources or (is_native(name) and is_video(recorded(name))):
                raise unknown(
                    "source",
                    name,
                    dataset.sources,
                    of=f"data set '{dataset.card.name}'",
                    hint=f"See them: kdbench describe {dataset.card.typed}",
                )
        if not trials:
            raise UsageError(
                f"a loader of '{dataset.card.name}' needs at least one trial",
                hint="Give it the trials of a part of a split.",
            )
        self.trials = tuple(trials)
        self.device = device
        self.waited_seconds = 0.0
        self._dataset = dataset
        self._names = np.array(self.trials, dtype=object)
        table = dataset.table(self.trials)
        labels = table["label"].to_numpy(dtype=np.int64, copy=True)
        if labelled is not None:
            labels[~np.isin(self._names.astype(str), list(labelled))] = -1
        self.labels = torch.as_tensor(labels, device=device)
        self._columns = {name: table[name].to_numpy() for name in table.columns if name != "label"}
        # In the order of the data set, so that what a network is built of does not depend on who else looks.
        self._series = {
            name: self._resampled(name, series_length)
            for name in dataset.sources
            if name in sources and not is_video(name)
        }
        self._native = {
            native(name): NativeSeries([dataset.series(trial)[name] for trial in self.trials], device)
            for name in dataset.sources
            if native(name) in sources
        }
        # Each view's own data set has rows of its own.
        self._views = {
            name: (view, np.array([view.position(trial) for trial in self.trials]))
            for name in dataset.sources
            if name in sources and is_video(name)
            for view in [dataset.beside.get(name, dataset)]
        }
        self._clips: dict[str, Tensor] | None = None
        if in_memory:
            self._clips = {
                name: torch.from_numpy(view.clips(rows)).to(device) for name, (view, rows) in self._views.items()
            }
        self._streams = bool(self._views) and not in_memory

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors and skeletons that batches hold, by their names there."""
        return (*self._series, *self._native)

    def all_series(self, sensor: str) -> Tensor:
        """Series of every trial `(N, axes, series_length)`, float32, on the device.

        Those of `native:NAME` end to end, as one row `(1, axes, total)`.

        Raises:
            UsageError: The loader was made without this sensor.
        """
        if sensor in self._native:
            return self._native[sensor].end_to_end
        if sensor not in self._series:
            raise unknown(
                "sensor of this loader", sensor, self.sensors, hint="Name it among sources when the loader is made."
            )
        return self._series[sensor]

    def batches(self, order: Tensor | Sequence[int], batch_size: int, *, join_single: bool = False) -> Iterator[Batch]:
        """Yields the trials in a given order, the last and possibly smaller batch included.

        Args:
            order: Positions in `trials`, on the host; repeats and subsets are allowed.
            batch_size: Trials per batch.
            join_single: As in `batch_slices`.
        """
        positions = torch.as_tensor(order, dtype=torch.int64, device="cpu")
        chosen = positions.numpy()
        on_device = self._sent(positions)
        slices = batch_slices(len(chosen), batch_size, join_single=join_single)
        clips = self._streamed([chosen[part] for part in slices]) if self._streams else None
        for part in slices:
            began = time.perf_counter()
            index = on_device[part]
            if clips is not None:
                shown = next(clips)
            else:
                shown = {name: whole.index_select(0, index) for name, whole in (self._clips or {}).items()}
            resampled = {name: series.index_select(0, index) for name, series in self._series.items()}
            padded = {name: series.rows(chosen[part], index) for name, series in self._native.items()}
            batch = Batch(
                sensors={**resampled, **padded},
                video=shown.pop(VIDEO, None),
                label=self.labels.index_select(0, index),
                trial=tuple(self._names[chosen[part]]),
                index=index,
                metadata={name: values[chosen[part]] for name, values in self._columns.items()},
                views=shown,
            )
            self.waited_seconds += time.perf_counter() - began
            yield batch

    def _resampled(self, sensor: str, length: int) -> Tensor:
        recorded = [self._dataset.series(trial)[sensor] for trial in self.trials]
        # What a trial was recorded without is never shown to who sees it: see `kdbench.data.tracks`.
        nothing = np.zeros((self._dataset.sources[sensor], length), np.float32)
        series = [resample(samples, length) if len(samples) else nothing for samples in recorded]
        return torch.from_numpy(np.stack(series)).to(self.device)

    def _sent(self, tensor: Tensor) -> Tensor:
        """A host tensor on the device, without waiting for the copy."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _streamed(self, batches: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        """Clips of each batch by their source; a thread reads and sends them while earlier ones are in use."""
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

        def load(positions: np.ndarray) -> tuple[dict[str, Tensor], torch.cuda.Event | None]:
            read = {name: torch.from_numpy(view.clips(rows[positions])) for name, (view, rows) in self._views.items()}
            if stream is None:
                return {name: clips.to(self.device) for name, clips in read.items()}, None
            with torch.cuda.stream(stream):
                sent = {name: self._sent(clips) for name, clips in read.items()}
                return sent, stream.record_event()

        waiting = iter(batches)
        with ThreadPoolExecutor(1, thread_name_prefix="kdbench-loader") as pool:
            pending: deque[Future[tuple[dict[str, Tensor], torch.cuda.Event | None]]] = deque()
            try:
                pending.extend(pool.submit(load, positions) for positions in itertools.islice(waiting, AHEAD))
                while pending:
                    clips, copied = pending.popleft().result()
                    pending.extend(pool.submit(load, positions) for positions in itertools.islice(waiting, 1))
                    if copied is not None:
                        current = torch.cuda.current_stream(self.device)
                        current.wait_event(copied)
                        for sent in clips.values():
                            sent.record_stream(current)
                    yield clips
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def batch_count(count: int, batch_size: int, *, join_single: bool = False) -> int:
    """How many batches trials make; arguments as in `batch_slices`."""
    whole, left = divmod(count, batch_size)
    return whole if join_single and left == 1 and whole else whole + (left > 0)


def batch_slices(count: int, batch_size: int, *, join_single: bool = False) -> list[slice]:
    """Which places of an order make each batch.

    Args:
        count: Trials in all.
        batch_size: Trials per batch; the last one holds what is left.
        join_single: Let a single trial that is left join the batch before: relations between trials, and batch
            statistics of a map of one position, are not defined for one.
    """
    batches = batch_count(count, batch_size, join_single=join_single)
    ends = [*(number * batch_size for number in range(1, batches)), count] if count else []
    return [slice(number * batch_size, end) for number, end in enumerate(ends)]
