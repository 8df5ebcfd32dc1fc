"""One trial on its way into a store: resized, hashed, and kept in a file of its own until all are there."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.readers.base import Reader, Recording, Trial
from kdbench.data.resizing import resized
from kdbench.util import files, numpy_files, paths

Stamp = list[list[Any]]
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class PreparedTrial:
    """One trial as it goes into the store.

    Attributes:
        series: Each sensor's samples `(n, axes)`, float32.
        clip: Frames `(channels, T, size, size)`, uint8, or None.
        hashes: sha256 of the source files, by path.
        series_sha256: Content hash of all series.
        clip_sha256: Content hash of the clip; empty where there is none.
    """

    series: Mapping[str, np.ndarray]
    clip: np.ndarray | None
    hashes: Mapping[str, str]
    series_sha256: str
    clip_sha256: str


def series_sha256(series: Mapping[str, np.ndarray]) -> str:
    """Content hash of a trial's series `{sensor: (n, axes)}`."""
    digest = hashlib.sha256()
    for name in sorted(series):
        digest.update(f"{name} {series[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(series[name]).data)
    return digest.hexdigest()


def clip_sha256(clip: np.ndarray | None) -> str:
    """Content hash of a clip; empty where there is none."""
    return "" if clip is None else hashlib.sha256(np.ascontiguousarray(clip).data).hexdigest()


def make(recording: Recording, frame_size: int) -> PreparedTrial:
    """Resizes a recording's frames to `frame_size`² and puts channels first."""
    clip = None if recording.clip is None else resized(recording.clip, frame_size)
    hashes = series_sha256(recording.series), clip_sha256(clip)
    return PreparedTrial(recording.series, clip, recording.hashes, *hashes)


def stamp(reader: Reader, trial: Trial, view: str | None) -> Stamp:
    """Path, size and modification time of each file of a trial; size -1 for one that is missing."""
    files: Stamp = []
    for path in reader.files(trial, view):
        assert reader.root is not None
        try:
            stat = (reader.root / path).stat()
            files.append([path, stat.st_size, stat.st_mtime_ns])
        except OSError:
            files.append([path, -1, 0])
    return files


def write(path: Path, trial: PreparedTrial, stamped: Stamp) -> None:
    """Writes a trial, whole or not at all, with the stamp of the files that it was made from."""
    content = {f"series.{name}": values for name, values in trial.series.items()}
    if trial.clip is not None:
        content["clip"] = trial.clip
    about = {"stamp": stamped, "hashes": dict(trial.hashes), "sha256": [trial.series_sha256, trial.clip_sha256]}
    with files.whole(path, durable=False, elsewhere=paths.OTHER_CACHE) as file:
        np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **content)  # type: ignore[arg-type]


def is_done(path: Path, stamped: Stamp) -> bool:
    """Whether a finished trial is there, made from files that have not changed since."""
    try:
        about = numpy_files.archive(path, ["about"])["about"]
        return json.loads(about.tobytes())["stamp"] == stamped
    except _DAMAGED:
        return False


def read(path: Path) -> PreparedTrial | None:
    """A finished trial, or None where it is damaged."""
    try:
        content = numpy_files.archive(path)
        about = json.loads(content["about"].tobytes())
        names = [name for name in content if name.startswith("series.")]
        series = {name.removeprefix("series."): content[name] for name in names}
        return PreparedTrial(series, content.get("clip"), about["hashes"], *about["sha256"])
    except _DAMAGED:
        return None
