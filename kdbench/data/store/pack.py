"""Writing a packed copy: a data set small enough to carry to another machine, with the best picture that fits.

Series are kept as they are. The frames of a trial become one WebP picture. The largest frame that fits at a fair
quality is taken, then the highest quality at that size: measured on depth, a larger frame at a low quality is closer to
the original than a smaller one at a high quality. The coding is lossy and part of the copy's fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.resizing import resized
from kdbench.data.store import packed
from kdbench.data.store.dataset import Dataset
from kdbench.data.store.packed import sheet, sheet_columns, unsheet
from kdbench.data.store.prepare import MAX_JOBS
from kdbench.data.store.progress import progress
from kdbench.errors import UsageError
from kdbench.types import VIDEO
from kdbench.util import files

QUALITIES = range(50, 101)
SIZES = (1.0, 0.86, 0.72, 0.57, 0.43, 0.29)
"""Frame sizes that are tried, as shares of the prepared size."""
SAMPLE = 24
"""Trials that a setting is measured on before all are coded."""
SAFETY = 0.97
"""Share of the budget that the sample's estimate may take."""
_LARGEST_SHEET = 16383
_MIB = 2**20


def pack(dataset: Dataset, out: Path, *, max_mib: float, jobs: int | None = None, shown: bool = True) -> Path:
    """Writes a packed copy of an opened data set.

    Args:
        dataset: The data set, with video, at the largest size that the copy will serve.
        out: The folder in which `NAME/` is made; an earlier packed copy there is replaced.
        max_mib: What the copy may take, MiB.
        jobs: Threads.
        shown: Show progress.

    Returns:
        The folder of the copy; its parent is a data folder for `open_dataset`.

    Raises:
        UsageError: The data set is a packed copy itself, has no video, the folder holds something else, or the copy
            does not fit at the smallest size and lowest quality.
        RunFailed: The disk is full.
    """
    if dataset.packed is not None or dataset.view is None:
        what = "is a packed copy already" if dataset.packed is not None else "was opened without video"
        raise UsageError(f"'{dataset.card.name}' {what}", hint="Pack from the recordings: give their --data-dir.")
    if not any(VIDEO not in dataset.lacks(trial) for trial in dataset.index["trial"]):
        raise UsageError(
            f"no trial of '{dataset.card.name}' has {dataset.view} video",
            hint=f"Copy the recordings themselves, with their card: {dataset.place}",
        )
    target = out / dataset.card.name
    if target.exists() and not (target / packed.FILE).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists and is not a packed copy", hint="Give another folder: --out DIR")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        _write(dataset, temporary, max_mib, jobs or min(os.cpu_count() or 1, MAX_JOBS), shown=shown)
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
    except OSError as error:
        raise files.unwritable(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write(dataset: Dataset, folder: Path, max_mib: float, jobs: int, *, shown: bool) -> None:
    trials = list(dataset.index["trial"])
    lacking = {trial: dataset.lacks(trial) for trial in trials}
    seen = [trial for trial in trials if VIDEO not in lacking[trial]]
    series, extents = _series(dataset, trials)
    # The index grows with the trials: a hash, names and offsets, about 400 bytes each.
    budget = max_mib * _MIB - len(series) - 512 * len(trials) - 4096
    with files.whole(folder / packed.SERIES) as file:
        file.write(series)

    def code(names: Sequence[str], side: int, quality: int, advance: Callable[[], None]) -> list[tuple[str, int]]:
        def one(name: str) -> tuple[str, int]:
            content = encode(dataset.clip(name), side, quality)
            with files.whole(folder / packed.SHEETS / f"{name}.webp") as file:
                file.write(content)
            return hashlib.sha256(content).hexdigest(), len(content)

        coded = []
        with ThreadPoolExecutor(jobs) as pool:
            for result in pool.map(one, names):
                coded.append(result)
                advance()
        return coded

    sample = seen[:: max(1, len(seen) // SAMPLE)]
    side, quality = choose(dataset, sample, budget * SAFETY / len(seen), max_mib)
    while True:
        with progress(f"Packing {dataset.card.name} ({side}², quality {quality})", len(seen), shown=shown) as advance:
            coded = code(seen, side, quality, advance)
        if sum(size for _, size in coded) <= budget:
            break
        if quality == QUALITIES[0]:
            raise _too_small(max_mib, sum(size for _, size in coded) / _MIB)
        quality -= 1
    sums: dict[str, str | None] = dict.fromkeys(trials)
    sums.update({trial: sha256 for trial, (sha256, _) in zip(seen, coded, strict=True)})
    entries: list[dict[str, Any]] = [
        {"trial": trial, "label": int(label), "columns": columns, "sha256": sums[trial], **extents[trial]}
        for trial, label, columns in zip(trials, dataset.index["label"], _columns(dataset), strict=True)
    ]
    for entry in entries:
        if names := lacking[entry["trial"]]:
            entry["lacks"] = sorted(f"{VIDEO}:{dataset.view}" if name == VIDEO else name for name in names)
    coding = {
        "view": dataset.view,
        "frames": dataset.frames,
        "side": side,
        "format": "webp",
        "quality": quality,
        "psnr_db": round(psnr_db(dataset, sample, side, quality), 2),
        "of": dataset.fingerprint,
    }
    content = {
        "format": packed.WITH_GAPS if any(lacking.values()) else packed.FORMAT,
        "dataset": dataset.card.name,
        "licence": dataset.card.licence,
        "coding": coding,
        "series_sha256": hashlib.sha256(series).hexdigest(),
        "excluded": dict(dataset.excluded),
        "unverified": dict(dataset.unverified),
        "trials": entries,
    }
    content[packed.SHA256] = packed.content_sha256(json.loads(json.dumps(content)))
    with files.whole(folder / packed.FILE) as file:
        file.write(json.dumps(content, separators=(",", ":")).encode())


def encode(clip: np.ndarray, side: int, quality: int) -> bytes:
    """Codes a clip `(channels, T, H, W)` as one WebP picture of frames of `side`²."""
    from PIL import Image

    frames = sheet(resized(clip.transpose(1, 2, 3, 0), side).transpose(1, 2, 3, 0), sheet_columns(clip.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(frames[..., 0] if frames.shape[2] == 1 else frames).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def choose(dataset: Dataset, sample: Sequence[str], bytes_each: float, max_mib: float) -> tuple[int, int]:
    """The largest frame, then the highest quality, whose mean size on the sample is within `bytes_each`.

    Raises:
        UsageError: Nothing fits.
    """

    def mean_size(side: int, quality: int) -> float:
        return float(np.mean([len(encode(dataset.clip(name), side, quality)) for name in sample]))

    widest = _LARGEST_SHEET // sheet_columns(dataset.frames)
    for share in SIZES:
        side = min(round(dataset.frame_size * share), widest)
        if mean_size(side, QUALITIES[0]) > bytes_each:
            continue
        low, high = QUALITIES[0], QUALITIES[-1]
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if mean_size(side, middle) <= bytes_each else (low, middle - 1)
        return side, low
    raise _too_small(max_mib, mean_size(round(dataset.frame_size * SIZES[-1]), QUALITIES[0]) * len(dataset) / _MIB)


def psnr_db(dataset: Dataset, sample: Sequence[str], side: int, quality: int) -> float:
    """Peak signal-to-noise ratio of the coded clips of a sample, at the prepared size, decibels."""
    errors = []
    for name in sample:
        clip = dataset.clip(name)
        frames = unsheet(encode(clip, side, quality), dataset.frames, side, len(clip))
        errors.append(np.mean((resized(frames, dataset.frame_size).astype(np.float64) - clip) ** 2))
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9)))


def _series(dataset: Dataset, trials: Sequence[str]) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """All series as one compressed .npz, and where each trial's are."""
    extents: dict[str, dict[str, Any]] = {trial: {"start": {}, "length": {}} for trial in trials}
    arrays = {}
    for sensor in dataset.sensors:
        values = [dataset.series(trial)[sensor] for trial in trials]
        for trial, start, part in zip(trials, np.cumsum([0, *map(len, values)]), values, strict=False):
            extents[trial]["start"][sensor], extents[trial]["length"][sensor] = int(start), len(part)
        arrays[sensor] = np.concatenate(values)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue(), extents


def _columns(dataset: Dataset) -> list[dict[str, Any]]:
    table = dataset.index.drop(columns=["trial", "label"])
    return [
        {str(name): getattr(v, "item", lambda v=v: v)() for name, v in row.items()} for row in table.to_dict("records")
    ]


def _too_small(max_mib: float, needed: float) -> UsageError:
    return UsageError(
        f"a packed copy does not fit into {max_mib:g} MiB: its pictures take {needed:.0f} MiB at the smallest size",
        hint="Allow more with --max-mib, or pack a smaller preset.",
    )
