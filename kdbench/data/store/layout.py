"""The prepared store on disk: which folder belongs to which request, which files are in it, and what describes them.

`CACHE/prepared/NAME-VIEW-SIZExFRAMES-KEY/` holds `series.SENSOR.npy` (all trials one after another, `(samples, axes)`
float32), `video.npy` (`(trials, channels, frames, size, size)` uint8), `index.parquet` and, written last, `meta.json`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from kdbench.data.readers.base import Reader
from kdbench.data.store.skeleton import SkeletonReader
from kdbench.errors import DataError
from kdbench.registry import registry
from kdbench.registry.importing import imported_sha256
from kdbench.text.wording import counted
from kdbench.types import SENSORS
from kdbench.util import files, paths

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Raised whenever preparing the same recording gives another store."""
META = "meta.json"
INDEX = "index.parquet"
VIDEO = "video.npy"
SERIES_HASH = "series_sha256"
CLIP_HASH = "clip_sha256"
LACKS = "store.lacks"
"""Index column, where there are such trials: the sources that a trial was recorded without, with blanks between."""


class Damaged(DataError):
    """A prepared store is not what was written."""


def series_file(sensor: str) -> str:
    """Name of the array of one sensor."""
    return f"series.{sensor}.npy"


def start(sensor: str) -> str:
    """Index column: the row of the sensor's array at which a trial starts."""
    return f"{sensor}.start"


def length(sensor: str) -> str:
    """Index column: a trial's number of samples."""
    return f"{sensor}.length"


@dataclass(frozen=True)
class Key:
    """What a store is made for.

    Attributes:
        dataset: Name of the data set.
        view: Video view; None for the sensors alone.
        frame_size: Height and width of a frame; 0 without video.
        frames: Frames of a clip; 0 without video.
        channels: Channels of the view; 0 without video.
        options: Options of a generated data set.
        facts: Hash of what the store depends on in the card and the reader.
        series: What its series are: `sensors`, or the name of a skeleton.
    """

    dataset: str
    view: str | None
    frame_size: int
    frames: int
    channels: int
    options: Mapping[str, Any]
    facts: str
    series: str = SENSORS

    def folder(self, place: str) -> Path:
        """The store's folder.

        Args:
            place: Where the recordings are; two copies of a data set have two stores.
        """
        name = (
            f"{self.dataset}-{self.view}-{self.frame_size}x{self.frames}"
            if self.view
            else f"{self.dataset}-{self.series}"
        )
        return prepared_dir() / f"{name}-{_hash([self.as_dict(), place])[:10]}"

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        plain = {**dataclasses.asdict(self), "options": dict(self.options)}
        return plain if self.series != SENSORS else {key: value for key, value in plain.items() if key != "series"}

    def __str__(self) -> str:
        if self.view is None:
            return f"{self.dataset} ({self.series})"
        return f"{self.dataset} ({self.view}, {counted(self.frames, 'frame')} of {self.frame_size}²)"


def key_for(reader: Reader, view: str | None, frame_size: int, frames: int, *, by: type[Reader] | None = None) -> Key:
    """The key of a request.

    Args:
        reader: The data set's reader, with its card and options.
        view: Video view, or None.
        frame_size: Height and width of a frame, pixels.
        frames: Frames of a clip.
        by: The reader that the store was made by, where it is not this one.
    """
    card, series = reader.card, SENSORS
    if isinstance(reader, SkeletonReader):
        series, by = reader.name, by or type(reader.reader)
    by = by or type(reader)
    facts = {
        "format": FORMAT,
        "reader": [by.__module__, by.__qualname__, by.version],
        "version": card.version,
        "trials": card.trials.model_dump(mode="json") if card.trials else None,
        "sensors": {name: sensor.model_dump(mode="json") for name, sensor in card.sensors.items()},
        "view": card.views[view].model_dump(mode="json") if view else None,
    }
    if card.files is not None:
        skeletons = {name: skeleton.model_dump(mode="json") for name, skeleton in card.skeletons.items()}
        classes = [entry.name for entry in card.classes]
        facts |= {"files": card.files.model_dump(mode="json"), "skeletons": skeletons, "classes": classes}
    datasets = registry("dataset")
    if datasets.has(card.reader) and not (origin := datasets.origin(card.reader)).built_in:
        # Who writes a reader edits it long before raising its version.
        facts["source"] = imported_sha256(origin)
    video = (frame_size, frames, card.views[view].channels) if view else (0, 0, 0)
    return Key(card.name, view, *video, options=reader.options, facts=_hash(facts), series=series)


@dataclass(frozen=True)
class Meta:
    """What is known of a complete store.

    Attributes:
        key: What it was made for, as plain data.
        place: Where the recordings were.
        signature: Hash of names, sizes and times of the source files.
        fingerprint: Content hash of the trials, their labels and all their data.
        series_fingerprint: The same of labels and sensor series alone; it does not depend on the view.
        excluded: Trials that were left out, with the reasons.
        unverified: Source files that are not what the manifest says, with the differences.
        packed: How a packed copy was coded, where the source was one.
        index_sha256: sha256 of the index, which holds a hash of every trial's data.
        sizes: Bytes of the index and of each array file.
        versions: Versions of kdbench, numpy and Pillow that made it.
    """

    key: Mapping[str, Any]
    place: str
    signature: str
    fingerprint: str
    series_fingerprint: str
    excluded: Mapping[str, str]
    unverified: Mapping[str, str]
    packed: Mapping[str, Any] | None
    index_sha256: str
    sizes: Mapping[str, int]
    versions: Mapping[str, str]


def read_meta(folder: Path) -> Meta | None:
    """What describes a store; None where it is not complete or not readable."""
    try:
        meta = TypeAdapter(Meta).validate_json((folder / META).read_bytes(), strict=True)
        Key(**meta.key)
    except (OSError, ValueError, TypeError):
        return None
    return meta


def prepared_dir() -> Path:
    """The folder of all prepared stores."""
    return paths.cache_dir() / "prepared"


def stores() -> list[tuple[Path, Meta]]:
    """Every complete store, the newest first."""
    folders = [path.parent for path in prepared_dir().glob(f"*/{META}")]
    folders.sort(key=lambda folder: (folder / META).stat().st_mtime_ns, reverse=True)
    return [(folder, meta) for folder in folders if (meta := read_meta(folder)) is not None]


def complete(
    folder: Path, key: Key, rows: Sequence[Mapping[str, Any]], arrays: Sequence[str], facts: Mapping[str, Any]
) -> Meta:
    """Writes the index, then `meta.json`: the store is complete.

    Args:
        folder: The store's folder, with its arrays.
        key: What it is made for.
        rows: One mapping a trial, as in the index.
        arrays: Names of the array files.
        facts: The other fields of `Meta`, which the caller knows.
    """
    import pandas as pd
    import PIL

    import kdbench

    buffer = io.BytesIO()
    index = pd.DataFrame(list(rows))
    index.to_parquet(buffer, index=False)
    with files.whole(folder / INDEX, elsewhere=paths.OTHER_CACHE) as file:
        file.write(buffer.getvalue())
    prints = fingerprints(key, index, facts["excluded"], facts["packed"])
    meta = Meta(
        key=key.as_dict(),
        fingerprint=prints["fingerprint"],
        series_fingerprint=prints["series_fingerprint"],
        index_sha256=hashlib.sha256(buffer.getvalue()).hexdigest(),
        sizes={name: (folder / name).stat().st_size for name in (INDEX, *arrays)},
        versions={"kdbench": kdbench.__version__, "numpy": np.__version__, "pillow": PIL.__version__},
        **facts,
    )
    with files.whole(folder / META, elsewhere=paths.OTHER_CACHE) as file:
        file.write(json.dumps(dataclasses.asdict(meta), indent=1, sort_keys=True).encode())
    return meta


def write_array(path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Writes a .npy file from consecutive pieces, without holding it in memory.

    Plain writes instead of a memory map: on a full disk a map dies by a signal, a write gives an error.

    Args:
        path: The file.
        parts: Pieces along the first axis, in C order.
        shape: Shape of the whole.
        dtype: Type of the whole.

    Raises:
        RunFailed: The file cannot be written.
    """
    with files.whole(path, elsewhere=paths.OTHER_CACHE) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)


def fingerprints(
    key: Key, index: pd.DataFrame, excluded: Iterable[str], packed: Mapping[str, Any] | None
) -> dict[str, str]:
    """The content hashes of a store, from its index, which holds a hash of every trial's data.

    Returns:
        `fingerprint` over everything, the excluded trials and a packed copy's coding included; `series_fingerprint`
        over labels and series.
    """
    series = index[["trial", "label", SERIES_HASH]].to_numpy().tolist()
    whole = [key.view, key.frame_size, key.frames, series, index[CLIP_HASH].tolist(), sorted(excluded), packed]
    return {
        "fingerprint": _hash([key.dataset, *whole]),
        "series_fingerprint": _hash([key.dataset, series, sorted(excluded)]),
    }


def intact(folder: Path, meta: Meta) -> pd.DataFrame:
    """Reads the index of a store and checks that both are what its `meta.json` says.

    The index holds a hash of every trial's data, which `kdbench.data.store.dataset` compares.

    Raises:
        Damaged: A file is missing or has another size, or the fingerprint differs.
    """
    import pandas as pd

    key = Key(**meta.key)
    hint = f"Delete {folder}: what needs it prepares it again from the recordings."
    for name, size in meta.sizes.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise Damaged(f"the prepared {path} is missing or not {counted(size, 'byte')} long", hint=hint)
    content = (folder / INDEX).read_bytes()
    if hashlib.sha256(content).hexdigest() != meta.index_sha256:
        raise Damaged(f"the prepared {folder / INDEX} was changed: its sha256 is not the one in {META}", hint=hint)
    index = pd.read_parquet(io.BytesIO(content))
    stated = {"fingerprint": meta.fingerprint, "series_fingerprint": meta.series_fingerprint}
    if fingerprints(key, index, meta.excluded, meta.packed) != stated:
        raise Damaged(f"the fingerprint in {folder / META} does not fit its index", hint=hint)
    return index


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
