"""The trials of a run as a user of its export would give them: from their files, through the export's preprocessing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.data.readers.base import Reader, Trial
from kdbench.data.store.source import find
from kdbench.export import describe
from kdbench.export.opened import OpenedRun
from kdbench.students.recordings import Recorded, read
from kdbench.students.schema import SeriesInput, VideoInput, Window
from kdbench.students.student import tensor_of

Entry = SeriesInput | VideoInput
FILES, SERIES, PREPARED = "files", "series", "prepared"
TIMED = 48
"""Recordings of the training part, evenly spaced in its order, whose length is looked at."""


@dataclass(frozen=True)
class Trials:
    """Where the recordings of a run's trials come from.

    Attributes:
        opened: The run.
        inputs: What the student sees.
        reader: Names the files; None where there are none to be read.
        origin: Of each input, by its source: `files`; `series`, as the data set holds them before they are resampled;
            or `prepared`, clips as the network takes them, where nothing else is at hand.
    """

    opened: OpenedRun
    inputs: Sequence[Entry]
    reader: Reader | None
    origin: dict[str, str]

    def tensors(self, trial: str) -> dict[str, np.ndarray]:
        """What the program takes of one trial, each with a batch axis of one.

        Args:
            trial: Its id.

        Raises:
            DataError: A file is missing or broken.
        """
        return {entry.tensor: self._tensor(entry, trial)[np.newaxis] for entry in self.inputs}

    def whole_file(self, entry: Entry, trial: str) -> np.ndarray:
        """What the program takes of the whole file of a source, with a batch axis of one; nothing is cut.

        Args:
            entry: An input.
            trial: Id of a trial.
        """
        made: np.ndarray = tensor_of(entry, read(self._file(entry, trial), entry), [])
        return made[np.newaxis]

    def recorded(self, entry: Entry, trial: str, *, whole: bool = False) -> Recorded | None:
        """A recording before any preprocessing; None where only what is prepared is at hand.

        Args:
            entry: An input.
            trial: Id of the trial.
            whole: All frames of a video file.
        """
        origin = self.origin[entry.source]
        if origin == FILES:
            return read(self._file(entry, trial), entry, whole=whole)
        if origin == SERIES:
            return Recorded(self.opened.context.run_spec.dataset.series(trial)[entry.source])
        return None

    def _tensor(self, entry: Entry, trial: str) -> np.ndarray:
        recording = self.recorded(entry, trial)
        if recording is None:
            clip: np.ndarray = np.asarray(self.opened.context.run_spec.dataset.clip(trial, entry.source))
            return clip
        made: np.ndarray = tensor_of(entry, recording, [])
        return made

    def _file(self, entry: Entry, trial: str) -> Path:
        assert self.reader is not None
        assert self.reader.root is not None
        known = self._known[trial]
        if isinstance(entry, VideoInput):
            return self.reader.root / self.reader.files(known, entry.view)[-1]
        return self.reader.root / self.reader.skeleton_files(known, entry.source)[0]

    @property
    def _known(self) -> dict[str, Trial]:
        if not hasattr(self, "_trials"):
            assert self.reader is not None
            object.__setattr__(self, "_trials", {trial.id: trial for trial in self.reader.trials()})
        trials: dict[str, Trial] = self._trials  # type: ignore[attr-defined]
        return trials

    def __iter__(self) -> Iterator[str]:
        """The ids of the reported part, in the order of the stored predictions."""
        return iter(self.opened.tested.trials.tolist())


def trials_of(opened: OpenedRun, inputs: Sequence[Entry], data_dir: Path | None) -> Trials:
    """Finds the recordings of a run.

    Args:
        opened: The run.
        inputs: What the student sees.
        data_dir: Where the data sets lie.
    """
    dataset = opened.context.run_spec.dataset
    found = find(dataset.card, data_dir, opened.context.run_spec.recipe.data.options)
    reader = found.reader if found is not None and found.root is not None and found.packed is None else None
    cut = describe.reader_of(opened).cuts(dataset.card)
    return Trials(opened, inputs, reader, {entry.source: _origin(entry, reader, cut) for entry in inputs})


def _origin(entry: Entry, reader: Reader | None, cut: Collection[str]) -> str:
    """Where a source's recordings come from; of one that is cut, no file holds what the network is shown."""
    if isinstance(entry, VideoInput):
        return FILES if reader is not None and entry.kind != "frames" and entry.view not in cut else PREPARED
    if entry.kind == "samples":
        return FILES if reader is not None and entry.file is not None and entry.source not in cut else SERIES
    return FILES if reader is not None else PREPARED


def spaced(names: Sequence[str], most: int) -> list[str]:
    """Some of many names, evenly spaced in their order, both ends among them."""
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[place] for place in dict.fromkeys(places.tolist())]


def window_of(trials: Trials) -> Window:
    """How long a recording of the training part is in the median, as the student's first input tells time.

    Cameras and sensors of one trial may disagree, where a camera drops frames. Where only prepared clips are at hand,
    the first sensor tells it.
    """
    dataset, entry = trials.opened.context.run_spec.dataset, trials.inputs[0]
    if dataset.card.files is not None and dataset.card.files.windows is not None:
        return Window(seconds=dataset.card.files.windows.seconds)
    train = spaced(trials.opened.context.split.train, TIMED)
    if trials.origin[entry.source] == PREPARED:
        name, sensor = next(iter(dataset.card.sensors.items()))
        lengths = [len(dataset.series(trial)[name]) / sensor.rate_hz for trial in train]
        # A trial need not have a file of it.
        lengths = [seconds for seconds in lengths if seconds] or [1.0]
    else:
        recordings = (trials.recorded(entry, trial, whole=True) for trial in train)
        lengths = [len(each.array) / entry.rate_hz for each in recordings if each is not None]
    return Window(seconds=round(float(np.median(lengths)), 3))
