"""Opening a data set: the prepared store where it is current, else prepared now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from kdbench.data import files, layout, source
from kdbench.data.card import Card, load_card
from kdbench.data.layout import Key, Meta
from kdbench.data.prepare import prepare, signature
from kdbench.data.progress import note
from kdbench.data.reader import Reader
from kdbench.errors import DataError, UsageError
from kdbench.registry import registry

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set, memory-mapped.

    Attributes:
        card: The data set's card.
        index: One row a trial, in natural order: `trial`, `label` (int), the card's columns (`action`, `subject`, …).
        fingerprint: Content hash of everything that is opened here: trials, labels, series, frames, exclusions, coding.
        series_fingerprint: The same of labels and series alone, whichever view is opened.
        view: The video view, or None.
        view_reason: Why this view: `asked`, `default`, `rgb not there`, or `not needed`.
        frames: Frames of a clip; 0 without video.
        frame_size: Height and width of a frame, pixels; 0 without video.
        packed: How the video of a packed copy was coded; None for recordings themselves.
        excluded: Trials that were left out on request, with the reasons.
        unverified: Source files that are not the ones in the manifest, with the differences.
        folder: The prepared store.
        place: Where the recordings were when it was made.
    """

    card: Card
    index: pd.DataFrame
    fingerprint: str
    series_fingerprint: str
    view: str | None
    view_reason: str
    frames: int
    frame_size: int
    packed: Mapping[str, Any] | None
    excluded: Mapping[str, str]
    unverified: Mapping[str, str]
    folder: Path
    place: str
    _rows: Mapping[str, int]
    _extents: Mapping[str, np.ndarray]
    _series: Mapping[str, np.ndarray]
    _video: np.ndarray | None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def sensors(self) -> dict[str, int]:
        """Number of axes of each sensor."""
        return {name: len(sensor.axes) for name, sensor in self.card.sensors.items()}

    @property
    def video_channels(self) -> int:
        """Channels of the video: 1 for depth, 3 for colour, 0 without video."""
        return 0 if self._video is None else self._video.shape[1]

    def position(self, trial: str) -> int:
        """The row of a trial in the index.

        Raises:
            DataError: The trial was excluded; the reason is given.
            UsageError: There is no such trial.
        """
        if trial in self.excluded:
            raise DataError(f"trial {trial} of '{self.card.name}' was excluded: {self.excluded[trial]}")
        if trial not in self._rows:
            example = next(iter(self._rows))
            raise UsageError(f"'{self.card.name}' has no trial '{trial}'", hint=f"Trials are named like {example}.")
        return self._rows[trial]

    def series(self, trial: str) -> dict[str, np.ndarray]:
        """Each sensor's samples of a trial, `{name: (n, axes)}`, float32, in the card's units and at its rate."""
        row = self.position(trial)
        return {name: values[slice(*self._extents[name][row])] for name, values in self._series.items()}

    def clip(self, trial: str) -> np.ndarray:
        """The frames of a trial `(channels, T, H, W)`, uint8, as a view of the memory map."""
        return self.clips(self.position(trial))

    def clips(self, rows: int | np.ndarray) -> np.ndarray:
        """The frames of some rows of the index `(…, channels, T, H, W)`, uint8: a view for one row, a copy for several.

        Raises:
            UsageError: The data set was opened without video.
        """
        if self._video is None:
            raise UsageError(f"'{self.card.name}' was opened without video")
        return self._video[rows]


def open_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    video: str | None = source.AUTO,
    frame_size: int = 64,
    frames: int = 16,
    allow_broken: bool = False,
    progress: bool = True,
    jobs: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Opens a data set, preparing it first where that has not been done or its files have changed since.

    Without the recordings, a store that was prepared earlier from them is opened.

    Args:
        name: Name of a data set, or the path of a card.
        data_dir: A folder that holds the data set's folder; searched before `$KDBENCH_DATA`, `./data` and the cache.
        video: A view's name, `auto` for the preferred one that is there, or None for the sensors alone.
        frame_size: Height and width of a frame, pixels.
        frames: Frames of a clip, at the centres of equal parts.
        allow_broken: Leave out trials whose files are missing or broken; they are recorded and change the fingerprint.
        progress: Show progress and notes on the error stream.
        jobs: Threads for preparing.
        options: Changes of a generated data set's options.

    Raises:
        UsageError: An unknown data set, view or option.
        DataError: Recordings are missing or broken; the message says which, and where to get or put them.
        RunFailed: The disk is full.
    """
    card = load_card(name)
    found = source.find(card, data_dir, options)
    if found is None:
        return _open_prepared(card, data_dir, video, frame_size, frames, options, allow_broken=allow_broken)
    view, reason = source.choose_view(found.card, found.views, video)
    key = layout.key_for(found.reader, view, frame_size, frames)
    folder = key.folder(found.place)
    with _locked(folder, key, shown=progress):
        meta = layout.read_meta(folder)
        if meta is None or meta.signature != signature(found, view) or not _whole(folder, meta):
            meta = prepare(found, key, allow_broken=allow_broken, jobs=jobs, shown=progress)
        return _opened(found.reader, folder, key, meta, reason, allow_broken=allow_broken)


def _open_prepared(
    card: Card,
    data_dir: Path | None,
    video: str | None,
    frame_size: int,
    frames: int,
    options: Mapping[str, Any] | None,
    *,
    allow_broken: bool,
) -> Dataset:
    """Opens the newest store that fits, although the recordings are gone."""
    reader = registry("dataset").get(card.reader)(card, None, options)
    keys = {view: layout.key_for(reader, view, frame_size, frames) for view in (*card.views, None)}
    held = {view: [(f, m) for f, m in layout.stores() if m.key == key.as_dict()] for view, key in keys.items()}
    there = tuple(view for view in card.views if held[view])
    if not there and not held[None]:
        raise source.missing(card, data_dir)
    view, reason = source.choose_view(card, there, video)
    if not held[view]:
        raise source.missing(card, data_dir)
    folder, meta = held[view][0]
    return _opened(reader, folder, keys[view], meta, reason, allow_broken=allow_broken)


@contextlib.contextmanager
def _locked(folder: Path, key: Key, *, shown: bool) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{folder}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            note(f"Another process prepares {key}; waiting for it", shown=shown)
            lock.acquire()
    except OSError as error:
        raise files.explained(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def _whole(folder: Path, meta: Meta) -> bool:
    return all((folder / name).is_file() and (folder / name).stat().st_size == n for name, n in meta.sizes.items())


def _opened(reader: Reader, folder: Path, key: Key, meta: Meta, reason: str, *, allow_broken: bool) -> Dataset:
    card = reader.card
    # Whoever made a packed copy asked for the exclusions that it inherits.
    left_out = [f"{trial}: {why}" for trial, why in meta.excluded.items() if trial not in reader.excluded]
    if left_out and not allow_broken:
        raise DataError(
            f"'{card.name}' was prepared without {len(left_out)} trials:\n  " + "\n  ".join(left_out),
            hint="Get their files again, or go on without them: --exclude-broken",
        )
    table = layout.intact(folder, key, meta)
    extents = {
        name: np.stack([table[layout.start(name)], table[layout.start(name)] + table[layout.length(name)]], axis=1)
        for name in card.sensors
    }
    series = {name: _mapped(folder / layout.series_file(name)) for name in card.sensors}
    internal = [column for column in table.columns if "." in column] + [layout.SERIES_HASH, layout.CLIP_HASH]
    return Dataset(
        card=card,
        index=table.drop(columns=internal),
        fingerprint=meta.fingerprint,
        series_fingerprint=meta.series_fingerprint,
        view=key.view,
        view_reason=reason,
        frames=key.frames,
        frame_size=key.frame_size,
        packed=meta.packed,
        excluded=meta.excluded,
        unverified=meta.unverified,
        folder=folder,
        place=meta.place,
        _rows={trial: row for row, trial in enumerate(table["trial"])},
        _extents=extents,
        _series=series,
        _video=_mapped(folder / layout.VIDEO) if key.view else None,
    )


def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)
