"""A loaded student: recordings in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kdbench.data.readers.kinds import resampled, series_kind, video_kind
from kdbench.errors import DataError, UsageError, unknown
from kdbench.students import fit
from kdbench.students.prediction import Prediction, softmax
from kdbench.students.recordings import Recorded, read
from kdbench.students.schema import Export, SeriesInput, VideoInput
from kdbench.text.wording import counted

Recording = np.ndarray | str | Path


class Program(Protocol):
    """What computes the logits.

    Attributes:
        runtime: Its name and version.
    """

    runtime: str

    def __call__(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits `(B, K)`, float32, of the program's inputs by their names."""


@dataclass(frozen=True, eq=False)
class Student:
    """A loaded student.

    Attributes:
        folder: Its export.
        export: What `export.json` says.
        program: Computes the logits.
    """

    folder: Path
    export: Export
    program: Program

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.export.class_names

    @property
    def sources(self) -> tuple[str, ...]:
        """What it sees."""
        return tuple(entry.source for entry in self.export.inputs)

    def __repr__(self) -> str:
        """What it sees and tells apart."""
        return f"Student({', '.join(self.sources)} → {counted(len(self.classes), 'class')}, {self.program.runtime})"

    def predict(
        self,
        recording: Recording | Mapping[str, Recording],
        *,
        rate_hz: float | None = None,
        any_rate: bool = False,
    ) -> Prediction:
        """Predicts one recording: what one person does from its beginning to its end.

        Args:
            recording: An array or a file; of a student that sees several sources, a mapping of them by their names.
                A series is `(n, axes)` in the unit of the export; what a video is, its kind says
                (`student.export.inputs`).
            rate_hz: Samples or frames a second, where the recording does not say so itself; every source has it.
            any_rate: Predict a recording of another rate all the same. Whatever is longer or shorter is stretched to
                the same length, so a movement that is recorded whole keeps its form.

        Raises:
            UsageError: A source is missing or unknown.
            DataError: A recording is of another kind, rate or number of axes, or broken.
        """
        given = self._by_source(recording)
        if rate_hz is not None and not rate_hz > 0:
            raise UsageError(f"rate_hz = {rate_hz}: expected a positive number")
        notes: list[str] = []
        tensors = {}
        for entry in self.export.inputs:
            value = given[entry.source]
            with _naming(value):
                recorded = read(Path(value), entry) if isinstance(value, str | Path) else Recorded(np.asarray(value))
                if not any_rate:
                    fit.check_rate(entry, rate_hz or recorded.rate_hz)
                tensors[entry.tensor] = tensor_of(entry, recorded, notes)[np.newaxis]
        probabilities = softmax(self.program(tensors))[0]
        return Prediction(self.classes, probabilities, tuple(notes))

    def _by_source(self, recording: Recording | Mapping[str, Recording]) -> Mapping[str, Recording]:
        if not isinstance(recording, Mapping):
            if len(self.sources) > 1:
                raise UsageError(
                    f"this student sees {' and '.join(self.sources)}, and one recording is given",
                    hint="Give a mapping of all of them by their names; on the command line SOURCE=FILE.",
                )
            return {self.sources[0]: recording}
        for name in recording:
            if name not in self.sources:
                raise unknown("source of this student", str(name), self.sources)
        if missing := [name for name in self.sources if name not in recording]:
            raise UsageError(f"the recording lacks {' and '.join(missing)}", hint="A student needs all that it sees.")
        return recording


@contextmanager
def _naming(value: Recording) -> Iterator[None]:
    """Puts the name of the file before an error."""
    try:
        yield
    except DataError as error:
        if not isinstance(value, str | Path) or str(value) in error.message:
            raise
        raise DataError(f"{value}: {error.message}", hint=error.hint) from error


def tensor_of(entry: SeriesInput | VideoInput, recorded: Recorded, notes: list[str]) -> Any:
    """What the network takes of a recording: `(axes, samples)` float32, or `(channels, T, size, size)` uint8.

    Args:
        entry: What the student sees.
        recorded: The recording.
        notes: Gets a sentence for what is odd.

    Raises:
        DataError: It is something else than the student sees.
    """
    try:
        if isinstance(entry, SeriesInput):
            series = series_kind(entry.kind).series(recorded.array)
            fit.check_axes(entry, series)
            if (note := fit.odd_units(entry, series)) is not None:
                notes.append(note)
            return resampled(series, entry.samples)
        kind = video_kind(entry.kind)
        frames = kind.checked(recorded.array, entry.channels)
        return clip_tensor(entry, kind.clip(frames, entry.frames, entry.height))
    except ValueError as error:
        raise DataError(f"the {entry.source}: {error}") from error


def clip_tensor(entry: VideoInput, clip: np.ndarray) -> np.ndarray:
    """A clip `(T, side, side, channels)` at the size that the network takes, `(channels, T, size, size)`, uint8."""
    from kdbench.data.resizing import resized

    return resized(clip, entry.frame_size)
