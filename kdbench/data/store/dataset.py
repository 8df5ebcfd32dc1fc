"""An opened data set: its trials, their series and their clips, memory-mapped."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.data.card import Card
from kdbench.data.store import layout, trial_file
from kdbench.data.store.layout import Damaged, Key, Meta
from kdbench.errors import DataError, UsageError
from kdbench.text.wording import counted, some
from kdbench.types import VIDEO, is_video, view_of
from kdbench.util import numpy_files

if TYPE_CHECKING:
    import pandas as pd

_OTHER = "Choose another trial; or mend its files, and open the data set anew."


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set, memory-mapped.

    Attributes:
        card: The data set's card.
        index: One row per trial, in natural order: `trial`, `label` (int), the card's columns (`action`, `subject`, …).
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
        beside: Further sources of the same trials, each as a data set of its own: a skeleton by its name, another view
            as `video:NAME`.
        lacking: Trials that cannot be used as they lack a source that all have to have, with the reasons; they are
            not in the index.
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
    _layout: Mapping[str, np.ndarray]
    _rows: Mapping[str, int]
    _series: Mapping[str, np.ndarray]
    _video: np.ndarray | None
    beside: Mapping[str, Dataset] = dataclasses.field(default_factory=dict)
    lacking: Mapping[str, str] = dataclasses.field(default_factory=dict)
    _lacks: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)

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

    @property
    def sources(self) -> dict[str, int]:
        """All that a network can see here, with its raw channels: sensors, skeletons, `video` and `video:NAME`."""
        own = self.sensors | ({VIDEO: self.video_channels} if self._video is not None else {})
        return own | {
            name: other.video_channels if is_video(name) else other.sensors[name] for name, other in self.beside.items()
        }

    def source(self, name: str) -> str:
        """A source by one name: `video:NAME` of the opened view is `video`."""
        return VIDEO if self.view is not None and view_of(name) == self.view else name

    def lacks(self, trial: str) -> frozenset[str]:
        """The sources among `sources` that a trial was recorded without."""
        own = self._lacks.get(trial, frozenset())
        found = {name for name in own if name in self.card.sensors}
        if self.view is not None and f"{VIDEO}:{self.view}" in own:
            found.add(VIDEO)
        for name, other in self.beside.items():
            if name in other._lacks.get(trial, ()):
                found.add(name)
        return frozenset(found)

    def having(self, sources: Collection[str]) -> Dataset:
        """The data set without the trials that lack one of some sources, which `lacking` then names."""
        wanted = frozenset(sources)
        without = {trial: self.lacks(trial) & wanted for trial in self._rows}
        lacking = {trial: f"no {' and no '.join(sorted(names))}" for trial, names in without.items() if names}
        if not lacking:
            return self
        kept = self.index[~self.index["trial"].isin(lacking)].reset_index(drop=True)
        rows = {trial: row for trial, row in self._rows.items() if trial not in lacking}
        return dataclasses.replace(self, index=kept, lacking={**self.lacking, **lacking}, _rows=rows)

    def table(self, trials: Sequence[str]) -> pd.DataFrame:
        """The rows of the index of some trials, in their order; errors as of `position`."""
        for trial in trials:
            self.position(trial)
        return self.index.set_index("trial").loc[list(trials)]

    def position(self, trial: str) -> int:
        """The row of a trial in the index.

        Raises:
            DataError: The trial was excluded; the reason is given.
            UsageError: There is no such trial.
        """
        if trial in self.excluded:
            raise DataError(f"trial {trial} of '{self.card.name}' was excluded: {self.excluded[trial]}", hint=_OTHER)
        if trial in self.lacking:
            raise DataError(f"trial {trial} of '{self.card.name}' has {self.lacking[trial]}", hint=_OTHER)
        if trial not in self._rows:
            example = next(iter(self._rows))
            raise UsageError(f"'{self.card.name}' has no trial '{trial}'", hint=f"Trials are named like {example}.")
        return self._rows[trial]

    def series(self, trial: str) -> dict[str, np.ndarray]:
        """Each sensor's samples of a trial, `{name: (n, axes)}`, float32, in the card's units and at its rate.

        Those of the skeletons that were opened too.
        """
        row = self.position(trial)
        series = {}
        for name, values in self._series.items():
            first = self._layout[layout.start(name)][row]
            series[name] = values[first : first + self._layout[layout.length(name)][row]]
        for name, other in self.beside.items():
            if not is_video(name):
                series[name] = other.series(trial)[name]
        return series

    def clip(self, trial: str, source: str = VIDEO) -> np.ndarray:
        """The frames of a trial `(channels, T, H, W)`, uint8, as a view of the memory map.

        Args:
            trial: Its id.
            source: `video`, or another view that was opened.
        """
        view = self.beside.get(source, self)
        return view.clips(view.position(trial))

    def clips(self, rows: int | np.ndarray) -> np.ndarray:
        """The frames of some rows of the index `(…, channels, T, H, W)`, uint8: a view for one row, a copy for several.

        Raises:
            UsageError: The data set was opened without video.
        """
        if self._video is None:
            raise UsageError(
                f"'{self.card.name}' was opened without video", hint="Name a view: open_dataset(…, video='auto')"
            )
        return self._video[rows]

    def damaged(self) -> list[str]:
        """Trials whose data are not what was written, by their hashes; reads everything, with several threads."""

        def is_other(item: tuple[str, int]) -> bool:
            trial, row = item
            clip = None if self._video is None else self._video[row]
            hashes = (trial_file.series_sha256(self.series(trial)), trial_file.clip_sha256(clip))
            return hashes != (self._layout[layout.SERIES_HASH][row], self._layout[layout.CLIP_HASH][row])

        with ThreadPoolExecutor() as pool:
            return [
                trial for trial, other in zip(self._rows, pool.map(is_other, self._rows.items()), strict=True) if other
            ]


def load(card: Card, folder: Path, meta: Meta, reason: str) -> Dataset:
    """Opens a complete store.

    Args:
        card: The data set's card.
        folder: The store.
        meta: What describes it.
        reason: Why this view.

    Raises:
        Damaged: The store is not what `meta` says.
    """
    table, key = layout.intact(folder, meta), Key(**meta.key)
    internal = [column for column in table.columns if "." in column] + [layout.SERIES_HASH, layout.CLIP_HASH]
    lacks = table[layout.LACKS] if layout.LACKS in table.columns else [""] * len(table)
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
        _layout={column: table[column].to_numpy() for column in internal},
        _rows={trial: row for row, trial in enumerate(table["trial"])},
        _series={name: _mapped(folder / layout.series_file(name), np.float32, 2) for name in card.sensors},
        _video=_mapped(folder / layout.VIDEO, np.uint8, 5) if key.view else None,
        _lacks={trial: frozenset(names.split()) for trial, names in zip(table["trial"], lacks, strict=True) if names},
    )


def joined(main: Dataset, beside: Mapping[str, Dataset], *, exclude_broken: bool) -> Dataset:
    """A data set with further sources of its trials.

    Args:
        main: Sensors and one view.
        beside: The further sources.
        exclude_broken: Leave out trials that a source lacks.

    Raises:
        DataError: A source lacks trials.
    """
    lacking: dict[str, str] = {}
    for name, other in beside.items():
        for trial in main.index["trial"]:
            if trial not in other._rows:
                lacking.setdefault(trial, f"no {name}: {other.excluded.get(trial, 'not recorded')}")
    if lacking and not exclude_broken:
        shown = "".join(f"\n  {trial}: {why}" for trial, why in list(lacking.items())[:3])
        raise DataError(
            f"{counted(len(lacking), 'trial')} of '{main.card.name}' lack a source:{shown}",
            hint="Go on without these trials, and let the results say so: --exclude-broken",
        )
    kept = main.index[~main.index["trial"].isin(lacking)].reset_index(drop=True)
    return dataclasses.replace(
        main,
        index=kept,
        excluded={**main.excluded, **lacking},
        unverified={**main.unverified, **{k: v for other in beside.values() for k, v in other.unverified.items()}},
        beside=dict(beside),
        _rows={trial: main._rows[trial] for trial in kept["trial"]},
    )


def sound(card: Card, folder: Path, meta: Meta, reason: str) -> Dataset:
    """Opens a complete store, and compares its data with the hashes that were written with them.

    All is read and hashed, once per process and store, at 1.2 GiB per second and core: 861 trials of `small` (54 MiB)
    take a twentieth of a second of work, those of `paper` (1.3 GiB) 1.1 s.

    Args:
        card: As for `load`.
        folder: As for `load`.
        meta: As for `load`.
        reason: As for `load`.

    Raises:
        Damaged: The store is not what was written.
    """
    dataset = load(card, folder, meta, reason)
    stamp = (folder, meta.fingerprint, *((folder / name).stat().st_mtime_ns for name in sorted(meta.sizes)))
    if stamp in _SOUND:
        return dataset
    wrong = dataset.damaged()
    if wrong:
        raise Damaged(
            f"the prepared {folder} is damaged: the data of {counted(len(wrong), 'trial')} are not what was written "
            f"({some(wrong, 3)})",
            hint=f"Delete it, get the recordings again, and prepare them: kdbench data prepare {card.typed}",
        )
    _SOUND.add(stamp)
    return dataset


_SOUND: set[tuple[Any, ...]] = set()
"""Stores that this process has compared, with the times of their files."""


def _mapped(path: Path, kind: type, dimensions: int) -> np.ndarray:
    """An array of a store, mapped; its bytes are hashed, so its type has to be what the bytes were written as."""
    hint = f"Delete {path.parent}: what needs it prepares it again from the recordings."
    try:
        array = numpy_files.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"the prepared {path} is damaged: {error}", hint=hint) from error
    if not isinstance(array, np.ndarray):
        raise Damaged(f"the prepared {path} is damaged: it is no array", hint=hint)
    if (
        array.dtype != np.dtype(kind)
        or not array.dtype.isnative
        or array.ndim != dimensions
        or not array.flags.c_contiguous
    ):
        raise Damaged(
            f"the prepared {path} is damaged: it is {array.shape} {array.dtype}, which was never written", hint=hint
        )
    return array
