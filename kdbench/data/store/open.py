"""Opening a data set: the prepared store where it is current, else prepared now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdbench.data.card import load_card
from kdbench.data.readers.base import Reader
from kdbench.data.store import layout, source
from kdbench.data.store.blank import blank
from kdbench.data.store.dataset import Dataset, joined, sound
from kdbench.data.store.layout import Damaged, Meta
from kdbench.data.store.lock import locked
from kdbench.data.store.packed import PackedReader
from kdbench.data.store.prepare import SHOWN, prepare, signature
from kdbench.data.store.progress import note
from kdbench.data.store.skeleton import SkeletonReader
from kdbench.errors import DataError
from kdbench.registry import registry
from kdbench.text.wording import counted
from kdbench.types import view_of

__all__ = ["Dataset", "open_dataset"]


def open_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    video: str | None = source.AUTO,
    frame_size: int = 64,
    frames: int = 16,
    exclude_broken: bool = False,
    progress: bool = True,
    jobs: int | None = None,
    options: Mapping[str, Any] | None = None,
    look_ahead: bool = False,
    beside: Iterable[str] = (),
) -> Dataset:
    """Opens a data set, preparing it first where that has not been done or its files have changed since.

    Without the recordings, a store that was prepared earlier from them is opened. A store is compared with the hashes
    of its data; one that is damaged is made again, or refused where the recordings are gone.

    Args:
        name: Name of a data set, or the path of a card.
        data_dir: A folder that holds the data set's folder; searched before `$KDBENCH_DATA`, `./data` and the cache.
        video: A view's name, `auto` for the preferred one that is there, or None for the sensors alone.
        frame_size: Height and width of a frame, pixels.
        frames: Frames of a clip, at the centres of equal parts.
        exclude_broken: Leave out trials whose files are missing or broken; they are recorded, and change the hash.
        progress: Show progress and notes on the error stream.
        jobs: Threads for preparing.
        options: Changes of a generated data set's options.
        look_ahead: Prepare nothing: a data set that is not prepared comes with its trials and made-up recordings.
        beside: Further sources: a skeleton by its name, another view as `video:NAME`. Each has a store of its own.

    Raises:
        UsageError: An unknown data set, view, skeleton or option.
        DataError: Recordings are missing or broken; the message says which, and where to get or put them.
        RunFailed: The disk is full.
    """
    card = load_card(name)
    recordings = source.find(card, data_dir, options)

    def opened(skeleton: str | None, asked: str | None) -> Dataset:
        if recordings is None:
            reader = registry("dataset").get(card.reader)(card, None, options)
            reader = reader if skeleton is None else SkeletonReader(reader, skeleton)
            return _open_prepared(reader, data_dir, asked, frame_size, frames, exclude_broken=exclude_broken)
        return _open_current(
            recordings if skeleton is None else source.of_skeleton(recordings, skeleton),
            asked,
            frame_size=frame_size,
            frames=frames,
            exclude_broken=exclude_broken,
            progress=progress,
            jobs=jobs,
            look_ahead=look_ahead,
        )

    main = opened(None, video)
    others = {}
    for wanted in beside:
        view = view_of(wanted)
        others[wanted] = opened(wanted, None) if view is None else opened(None, view)
    return joined(main, others, exclude_broken=exclude_broken) if others else main


def _open_current(
    recordings: source.Source,
    video: str | None,
    *,
    frame_size: int,
    frames: int,
    exclude_broken: bool,
    progress: bool,
    jobs: int | None,
    look_ahead: bool,
) -> Dataset:
    """Opens the store of recordings that are there, which is prepared first where it is not current."""
    view, reason = source.choose_view(recordings.card, recordings.views, video)
    key = layout.key_for(recordings.reader, view, frame_size, frames)
    folder = key.folder(recordings.place)
    if look_ahead:
        meta = layout.read_meta(folder)
        if meta is None or meta.signature != signature(recordings, view):
            return blank(recordings.reader, view, reason, frames, frame_size)
    with locked(folder, f"prepares {key}", shown=progress):
        meta = layout.read_meta(folder)
        if meta is not None and meta.signature == signature(recordings, view):
            try:
                return _opened(recordings.reader, folder, meta, reason, exclude_broken=exclude_broken)
            except Damaged as error:
                note(f"Warning: {error.message}; it is made again from the recordings", shown=progress)
        meta = prepare(recordings, key, exclude_broken=exclude_broken, jobs=jobs, shown=progress)
        return _opened(recordings.reader, folder, meta, reason, exclude_broken=exclude_broken)


def _open_prepared(
    reader: Reader,
    data_dir: Path | None,
    video: str | None,
    frame_size: int,
    frames: int,
    *,
    exclude_broken: bool,
) -> Dataset:
    """Opens the newest store that fits, although the recordings, or the packed copy, are gone."""
    card, stores = reader.card, layout.stores()

    def fitting(view: str | None) -> list[tuple[Path, Meta]]:
        keys = [layout.key_for(reader, view, frame_size, frames, by=by).as_dict() for by in (None, PackedReader)]
        return [(folder, meta) for folder, meta in stores if meta.key in keys]

    fits = {view: fitting(view) for view in (*card.views, None)}
    there = tuple(view for view in card.views if fits[view])
    if not there and not fits[None]:
        raise source.missing(card, data_dir)
    view, reason = source.choose_view(card, there, video)
    if not fits[view]:
        raise source.missing(card, data_dir)
    folder, meta = fits[view][0]
    return _opened(reader, folder, meta, reason, exclude_broken=exclude_broken)


def _opened(reader: Reader, folder: Path, meta: Meta, reason: str, *, exclude_broken: bool) -> Dataset:
    card = reader.card
    # Whoever made a packed copy asked for the exclusions that it inherits.
    left_out = [f"{trial}: {why}" for trial, why in meta.excluded.items() if trial not in reader.excluded]
    if left_out and not exclude_broken:
        shown = left_out[:SHOWN] + ["…"] * (len(left_out) > SHOWN)
        raise DataError(
            f"'{card.name}' was prepared without {counted(len(left_out), 'trial')}:\n  " + "\n  ".join(shown),
            hint="Get their files again, or go on without them: --exclude-broken",
        )
    return sound(card, folder, meta, reason)
