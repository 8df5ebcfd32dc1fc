"""Reading a packed copy: sensors as they were, video as one picture of frames per trial.

It takes the place of the recordings: `DATA/NAME/pack.json` with `series.npz` and `sheets/TRIAL.webp` beside it.
Reading needs numpy and Pillow alone. `kdbench.data.store.pack` writes it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data import names
from kdbench.data.card import Card
from kdbench.data.readers.base import Reader, Recording, Trial
from kdbench.data.readers.timeline import centre_frames
from kdbench.errors import DataError, shortened
from kdbench.text.wording import counted
from kdbench.types import VIDEO
from kdbench.util import numpy_files

FILE = "pack.json"
SERIES = "series.npz"
SHEETS = "sheets"
FORMAT = 1
WITH_GAPS = 2
"""The same, where some trials lack a source; what reads the first alone would take them for broken ones."""
SHA256 = "sha256"
"""Key of the index that holds its own hash; copies of earlier versions have none."""


class PackedReader(Reader):
    """Reads a packed copy of any data set.

    Attributes:
        coding: How frames were coded: view, frames, side in pixels, format, quality, measured error; and the
            fingerprint of the data that were packed.
        views: The view that it holds, as a tuple.

    Raises:
        DataError: The folder is not a packed copy, or belongs to another data set.
    """

    def __init__(self, card: Card, root: Path, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(card, root, options)
        self._root = root
        path = root / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop(SHA256, None) not in {None, content_sha256(content)}:
                raise DataError(f"{path} is damaged: its sha256 is not the one in it", hint=_AGAIN)
            dataset, entries, form = content["dataset"], content["trials"], content["format"]
            self.coding: dict[str, Any] = content["coding"]
            self._series_sha256: str = content["series_sha256"]
            self.unverified = content["unverified"]
            self.excluded = content["excluded"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} is not the index of a packed copy: {_reason(error)}", hint=_AGAIN) from error
        if dataset != card.name or form not in (FORMAT, WITH_GAPS):
            raise DataError(
                f"{path} is of data set '{dataset}', format {form}; expected '{card.name}', format {FORMAT} or "
                f"{WITH_GAPS}",
                hint=_AGAIN,
            )
        try:
            self._entries: dict[str, dict[str, Any]] = {entry["trial"]: entry for entry in entries}
            names.check_ids(self._entries, card.name)
            self.views: tuple[str, ...] = (self.coding["view"],)
            self._checked()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is not the index of a packed copy: {_reason(error)}", hint=_AGAIN) from error
        self._series: dict[str, np.ndarray] | None = None

    def _checked(self) -> None:
        """Raises where an entry is not what `pack` writes; which error it is does not matter."""
        for key in ("frames", "side"):
            if not 0 < int(self.coding[key]) <= _MOST:
                raise ValueError(f"coding.{key} = {self.coding[key]}")
        if self.views[0] not in self.card.views:
            raise ValueError(f"coding.view = {self.views[0]}")
        for entry in self._entries.values():
            spans = [(entry["start"][name], entry["length"][name]) for name in self.card.sensors]
            whole = all(isinstance(value, int) and value >= 0 for span in (*spans, [entry["label"]]) for value in span)
            lacks = entry.get("lacks", [])
            known = {*self.card.sensors, self._video}
            has_sheet = isinstance(entry["sha256"], str) and self._video not in lacks
            whole = whole and isinstance(lacks, list) and set(lacks) <= known
            if not whole or not (has_sheet or self._video in lacks) or not isinstance(entry["columns"], dict):
                raise ValueError(f"trial {entry['trial']}")
            if entry["label"] >= len(self.card.classes):
                raise ValueError(f"the label of trial {entry['trial']}")

    def trials(self) -> list[Trial]:
        """The trials that were packed."""
        return [Trial(name, entry["label"], entry["columns"]) for name, entry in self._entries.items()]

    @property
    def _video(self) -> str:
        """What a trial without a sheet lacks."""
        return f"{VIDEO}:{self.views[0]}"

    def lacks(self, trial: Trial) -> frozenset[str]:
        """See `Reader.lacks`."""
        return frozenset(self._entries[trial.id].get("lacks", ()))

    def files(self, trial: Trial, view: str | None) -> tuple[str, ...]:
        """See `Reader.files`."""
        return (SERIES,) if view is None or self._video in self.lacks(trial) else (SERIES, _sheet(trial.id))

    def read(self, trial: Trial, view: str | None, frames: int) -> Recording:
        """See `Reader.read`; the frames are chosen among the packed ones."""
        entry = self._entries[trial.id]
        series = {name: values[entry["start"][name] :][: entry["length"][name]] for name, values in self._all().items()}
        if view is None:
            return Recording(series)
        if self._video in self.lacks(trial):
            return Recording(series, np.zeros((frames, 1, 1, self.card.views[view].channels), np.uint8))
        path = _sheet(trial.id)
        content, sha256 = self.bytes_of(path, trial.id)
        if sha256 != entry["sha256"]:
            raise DataError(f"trial {trial.id}: {path} is damaged: its sha256 is not the one in {FILE}", hint=_AGAIN)
        count, side = self.coding["frames"], self.coding["side"]
        tiles = unsheet(content, count, side, self.card.views[view].channels)
        return Recording(series, np.ascontiguousarray(tiles[centre_frames(count, frames)]), {path: sha256})

    def _all(self) -> dict[str, np.ndarray]:
        if self._series is None:
            content, sha256 = self.bytes_of(SERIES, "(all)")
            if sha256 != self._series_sha256:
                raise DataError(f"{self._root / SERIES} is damaged: its sha256 is not the one in {FILE}", hint=_AGAIN)
            self._series = numpy_files.archive(content, self.card.sensors)
        return self._series


def sheet(frames: np.ndarray, columns: int) -> np.ndarray:
    """Lays frames `(T, side, side, channels)` out as one picture, row by row; T is a multiple of `columns`."""
    count, side, _, channels = frames.shape
    rows = frames.reshape(count // columns, columns, side, side, channels)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * side, channels)


def unsheet(content: bytes, count: int, side: int, channels: int) -> np.ndarray:
    """Frames `(T, side, side, channels)`, uint8, of a coded sheet.

    Raises:
        DataError: The picture has another size.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        # WebP has no grey pictures: a grey sheet is the luma of a colourless one.
        picture = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    columns = sheet_columns(count)
    if picture.shape[:2] != (count // columns * side, columns * side):
        raise DataError(
            f"a sheet has {picture.shape[:2]} pixels, expected {counted(count, 'frame')} of {side}²", hint=_AGAIN
        )
    tiles = picture.reshape(count // columns, side, columns, side, channels).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(count, side, side, channels)


def sheet_columns(count: int) -> int:
    """Frames in a row of a sheet: the divisor of the count that is nearest above its square root."""
    return next(n for n in range(1, count + 1) if count % n == 0 and n * n >= count)


def content_sha256(content: Mapping[str, Any]) -> str:
    """Hash of an index, without the key that holds it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _reason(error: Exception) -> str:
    what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
    return shortened(what, 200)


def _sheet(trial: str) -> str:
    return f"{SHEETS}/{trial}.webp"


_MOST = 100_000
_AGAIN = "Make or copy it again: kdbench data pack"
