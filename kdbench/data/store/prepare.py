"""From recordings to a prepared store, once, in parallel; interrupted, it goes on where it was.

Each trial is read, checked, hashed, cropped and resized into a part file of its own, which appears under its name only
when it is whole. When all parts are there they are joined into one memory-mapped array per sensor and one for video,
with a parquet index and `meta.json`, whose appearance makes the store complete.

A store keeps the `frames` centre frames of each trial, not all of them: `small` (16 frames of 64²) is 54 MiB against
236 MiB for all frames, `paper` (32 of 224²) 1.3 GiB against 2.8 GiB, every clip is one contiguous read, and making
another store for other sizes takes half a minute. Sensor series keep every sample.

Trials are shared out among threads: decompression, hashing, resizing and numpy's arithmetic release the interpreter's
lock (two threads on two cores are 1.8 times as fast as one), and threads need no guard in the user's script.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data import names
from kdbench.data.readers.base import Reader, Trial, check, natural_key
from kdbench.data.store import layout, manifest, trial_file
from kdbench.data.store.layout import Key, Meta
from kdbench.data.store.progress import note, progress
from kdbench.data.store.source import Source
from kdbench.data.store.trial_file import Stamp
from kdbench.errors import DataError, RunFailed
from kdbench.text.wording import counted, inflected
from kdbench.util import files, paths

MAX_JOBS = 8
_FOLDERS = 5
SHOWN = 20
"""How many trials an error names when files are missing or broken by the hundred."""


def prepare(
    source: Source, key: Key, *, exclude_broken: bool = False, jobs: int | None = None, shown: bool = True
) -> Meta:
    """Makes the store of a key, from whatever parts are there already. The caller holds the store's lock.

    Args:
        source: The recordings.
        key: View and sizes.
        exclude_broken: Leave out trials whose files are missing or broken, and record them, instead of failing.
        jobs: Threads; by default one a core, at most `MAX_JOBS`.
        shown: Show progress.

    Raises:
        DataError: Files are missing or broken and `exclude_broken` is off; all of them are named. Or no trial is left.
        RunFailed: The disk is full.
    """
    reader, folder = source.reader, key.folder(source.place)
    trials = sorted(reader.trials(), key=lambda trial: natural_key(trial.id))
    names.check_ids((trial.id for trial in trials), key.dataset)
    stamps = {trial.id: trial_file.stamp(reader, trial, key.view) for trial in trials}
    lacking = {name: [path for path, size, _ in listed if size < 0] for name, listed in stamps.items()}
    lacking = {name: absent for name, absent in lacking.items() if absent}
    if lacking and not exclude_broken:
        raise _incomplete(source, lacking, len(trials))
    trials = [trial for trial in trials if trial.id not in lacking]
    parts = folder / "parts"
    todo = [trial for trial in trials if not trial_file.is_done(_path(parts, trial), stamps[trial.id])]
    _check_space(key, folder, len(todo), len(trials))
    if len(todo) < len(trials):
        note(
            f"Going on with {key}: {len(trials) - len(todo)} of {counted(len(trials), 'trial')} "
            f"{inflected(len(trials) - len(todo), 'is')} done",
            shown=shown,
        )
    broken = _make_parts(reader, key, todo, stamps, parts, jobs or min(os.cpu_count() or 1, MAX_JOBS), shown=shown)
    for line in reader.remarks():
        note(f"Warning: {line}", shown=shown)
    if broken and not exclude_broken:
        raise _broken(source, broken)
    excluded = {name: f"missing: {', '.join(absent)}" for name, absent in lacking.items()} | broken
    trials = [trial for trial in trials if trial.id not in excluded]
    if not trials:
        reasons = "".join(f"\n  {trial}: {reason}" for trial, reason in list(excluded.items())[:3])
        raise DataError(
            f"no trial of '{key.dataset}' in {source.place} can be used; the first reasons:{reasons}",
            hint=f"Mend the files, or the card where all are wrong alike; then: kdbench check {source.typed}",
        )
    meta = _join(source, key, trials, folder, signature_of(stamps), excluded)
    if meta.unverified:
        note(
            f"Warning: {counted(len(meta.unverified), 'file')} of '{key.dataset}' "
            f"{inflected(len(meta.unverified), 'differs', 'differ')} from its manifest. "
            f"See which: kdbench data verify {source.typed}",
            shown=shown,
        )
    return meta


def signature(source: Source, view: str | None) -> str:
    """Hash of names, sizes and times of the files that a store is made of: it changes when a file does."""
    return signature_of({trial.id: trial_file.stamp(source.reader, trial, view) for trial in source.reader.trials()})


def signature_of(stamps: Mapping[str, Stamp]) -> str:
    """Hash of the stamps of all trials."""
    return hashlib.sha256(json.dumps(stamps, sort_keys=True).encode()).hexdigest()


def _path(parts: Path, trial: Trial) -> Path:
    return parts / f"{trial.id}.npz"


def _make_parts(
    reader: Reader, key: Key, todo: list[Trial], stamps: Mapping[str, Stamp], parts: Path, jobs: int, *, shown: bool
) -> dict[str, str]:
    """Makes the parts that are not there yet; returns the reasons of those that cannot be made, by trial."""

    def make(trial: Trial) -> None:
        recording = reader.read(trial, key.view, key.frames)
        check(recording, reader.card, trial.id, key.view, key.frames, reader.lacks(trial))
        trial_file.write(_path(parts, trial), trial_file.make(recording, key.frame_size), stamps[trial.id])

    broken: dict[str, str] = {}
    with progress(f"Preparing {key}", len(todo), shown=shown) as advance, ThreadPoolExecutor(jobs) as pool:
        try:
            futures = {pool.submit(make, trial): trial for trial in todo}
            for future in as_completed(futures):
                try:
                    future.result()
                except DataError as error:
                    broken[futures[future].id] = error.message
                advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {trial.id: broken[trial.id] for trial in todo if trial.id in broken}


def _check_space(key: Key, folder: Path, todo: int, total: int) -> None:
    """Parts and the joined array are there at the same time."""
    clip = key.frames * key.frame_size**2 * key.channels
    needed = (todo + total) * (clip + 2**14)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise files.unwritable(error, folder, elsewhere=paths.OTHER_CACHE) from error
    if free < needed:
        raise RunFailed(
            f"preparing {key} needs about {needed // 2**20 + 1} MiB in {folder.parent}, {free // 2**20} MiB are free",
            hint="Free some space, or put prepared data elsewhere with KDBENCH_CACHE=FOLDER.",
        )


def _incomplete(source: Source, lacking: Mapping[str, list[str]], total: int) -> DataError:
    counts = Counter(str(Path(path).parent) for absent in lacking.values() for path in absent)
    folders = [f"{count} in {folder}/" for folder, count in sorted(counts.items())]
    per_folder = ", ".join(folders[:_FOLDERS]) + (
        f", … ({len(folders) - _FOLDERS} more)" if len(folders) > _FOLDERS else ""
    )
    names = ", ".join(list(lacking)[:SHOWN]) + (f", … ({len(lacking) - SHOWN} more)" if len(lacking) > SHOWN else "")
    name = source.card.name
    return DataError(
        f"{source.place} is incomplete: {len(lacking)} of the {counted(total, 'trial')} of '{name}' "
        f"{inflected(len(lacking), 'lacks', 'lack')} files ({per_folder}): "
        f"{names}",
        hint=f"See every missing file: kdbench data verify {source.typed}\n"
        f"Go on without these trials, and let the results say so: kdbench data prepare {source.typed} --exclude-broken",
    )


def _broken(source: Source, broken: Mapping[str, str]) -> DataError:
    shown = list(broken.values())[:SHOWN] + [f"… ({len(broken) - SHOWN} more)"] * (len(broken) > SHOWN)
    lines = "".join(f"\n  {reason}" for reason in shown)
    return DataError(
        f"{counted(len(broken), 'trial')} {inflected(len(broken), 'is')} broken in {source.place}:{lines}",
        hint=f"Get these files again and repeat the command (the other trials are kept).\n"
        f"Or go on without them, and let the results say so: kdbench data prepare {source.typed} --exclude-broken",
    )


def _join(
    source: Source, key: Key, trials: list[Trial], folder: Path, signature: str, excluded: Mapping[str, str]
) -> Meta:
    """Joins the parts into the store's arrays and index, and removes them."""
    (folder / layout.META).unlink(missing_ok=True)
    for killed in folder.glob(".*.tmp"):
        killed.unlink()
    sensors = source.card.sensors
    rows: list[dict[str, Any]] = []
    series: dict[str, list[np.ndarray]] = {name: [] for name in sensors}
    hashes: dict[str, str] = {}
    lacking = {trial.id: source.reader.lacks(trial) for trial in trials}
    incomplete = any(lacking.values())

    def clips() -> Iterator[np.ndarray]:
        for trial in trials:
            path = _path(folder / "parts", trial)
            made = trial_file.read(path)
            if made is None:
                path.unlink(missing_ok=True)
                raise DataError(f"the prepared part {path} was damaged; it is removed", hint="Repeat the command.")
            row: dict[str, Any] = {"trial": trial.id, "label": trial.label, **trial.columns}
            if incomplete:
                row[layout.LACKS] = " ".join(sorted(lacking[trial.id]))
            for name in sensors:
                row[layout.start(name)] = sum(map(len, series[name]))
                row[layout.length(name)] = len(made.series[name])
                series[name].append(made.series[name])
            rows.append(row | {layout.SERIES_HASH: made.series_sha256, layout.CLIP_HASH: made.clip_sha256})
            hashes.update(made.hashes)
            if made.clip is not None:
                yield made.clip

    arrays = [layout.series_file(name) for name in sensors]
    if key.view is None:
        list(clips())
    else:
        shape: tuple[int, ...] = (len(trials), key.channels, key.frames, key.frame_size, key.frame_size)
        layout.write_array(folder / layout.VIDEO, clips(), shape, np.dtype(np.uint8))
        arrays.append(layout.VIDEO)
    for name, values in series.items():
        shape = (sum(map(len, values)), len(sensors[name].axes))
        layout.write_array(folder / layout.series_file(name), values, shape, np.dtype(np.float32))
    facts = {
        "place": source.place,
        "signature": signature,
        "excluded": {**source.reader.excluded, **excluded},
        "unverified": {**source.reader.unverified, **manifest.differing(source.card, hashes)},
        "packed": source.packed,
    }
    meta = layout.complete(folder, key, rows, arrays, facts)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    return meta
