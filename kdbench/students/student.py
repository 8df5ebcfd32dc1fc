"""A loaded student: recordings in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kdbench.data.readers.body import relative
from kdbench.data.readers.kinds import resampled, series_kind, video_kind
from kdbench.errors import DataError, UsageError, unknown
from kdbench.students import fit
from kdbench.students.prediction import Prediction, softmax
from kdbench.students.recordings import Recorded, read, wanted
from kdbench.students.schema import Export, SeriesInput, VideoInput
from kdbench.students.series_file import AS_EXPORTED, Columns
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
        columns: Columns | Mapping[str, Columns] = AS_EXPORTED,
    ) -> Prediction:
        """Predicts one recording: what one person does from its beginning to its end.

        Args:
            recording: An array or a file; of a student that sees several sources, a mapping of them by their names.
                A series is `(n, axes)` in the unit of the export; what a video is, its kind says
                (`student.export.inputs`).
            rate_hz: Samples or frames a second, where the recording does not say so itself; every source has it.
            any_rate: Predict a recording of another rate all the same. Whatever is longer or shorter is stretched to
                the same length, so a movement that is recorded whole keeps its form.
            columns: Which columns of a text file are the axes and the time, where the export says otherwise or nothing;
                of a student that sees several sources, a mapping by their names.

        Raises:
            UsageError: A source is missing or unknown, or something is said that has no effect.
            DataError: A recording is of another kind, rate or number of axes, or broken.
        """
        given = self._by_source(recording)
        check_rate_hz(rate_hz)
        said = self.columns_of(columns)
        notes: list[str] = []
        tensors = {}
        for entry in self.export.inputs:
            value = given[entry.source]
            with _naming(value):
                if isinstance(value, str | Path):
                    recorded = read(Path(value), entry, columns=said.get(entry.source, AS_EXPORTED))
                elif entry.source in said:
                    raise UsageError("columns are said of files, and an array is given", hint="Leave them out.")
                else:
                    recorded = Recorded(_array(value))
                check_recorded_rate(entry, recorded, rate_hz, any_rate=any_rate)
                rate = entry.rate_hz if recorded.evened else rate_hz or recorded.rate_hz or entry.rate_hz
                lasts = recorded.film_seconds or len(np.atleast_1d(recorded.array)) / rate
                if (note := fit.odd_length(lasts, self.export.window.seconds)) is not None and note not in notes:
                    notes.append(note)
                tensors[entry.tensor] = tensor_of(entry, recorded, notes)[np.newaxis]
        probabilities = softmax(self.program(tensors))[0]
        return Prediction(self.classes, probabilities, tuple(notes))

    def columns_of(self, columns: Columns | Mapping[str, Columns]) -> Mapping[str, Columns]:
        """What is said of columns, by source; those of which nothing is said are left out.

        Raises:
            UsageError: A source is unknown, or it is not said which of several is meant.
        """
        if isinstance(columns, Columns):
            series = [entry.source for entry in self.export.inputs if isinstance(entry, SeriesInput)]
            if columns == AS_EXPORTED:
                return {}
            if len(series) != 1:
                raise UsageError(
                    f"this student sees {' and '.join(self.sources)}, and it is not said whose columns are meant",
                    hint="Give a mapping by the names of the sources; on the command line SOURCE=COLUMNS.",
                )
            return {series[0]: columns}
        for name in columns:
            if name not in self.sources:
                raise unknown("source of this student", str(name), self.sources, hint="Its sources: student.sources")
        return {name: each for name, each in columns.items() if each != AS_EXPORTED}

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
                raise unknown("source of this student", str(name), self.sources, hint="Its sources: student.sources")
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
            return series_tensor(entry, series_kind(entry.kind).series(recorded.array), notes)
        kind = video_kind(entry.kind)
        frames = kind.checked(recorded.array, entry.channels)
        return clip_tensor(entry, kind.clip(frames, entry.frames, entry.height))
    except ValueError as error:
        hint = getattr(error, "hint", None) or f"It should be {wanted(entry)}."
        raise DataError(f"the {entry.source}: {error}", hint=hint) from error


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(
            f"the recording is no array: {str(error).partition('.')[0]}", hint="Its rows have to be equally long."
        ) from error


def check_rate_hz(rate_hz: float | None) -> None:
    """Refuses what is no rate.

    Raises:
        UsageError: It is none.
    """
    if rate_hz is None:
        return
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, Real) or not 0 < rate_hz < np.inf:
        raise UsageError(
            f"rate_hz = {rate_hz!r}: expected a number above 0",
            hint="Say how many samples or frames a second were recorded: --rate 50 (rate_hz=50).",
        )


def series_tensor(entry: SeriesInput, series: np.ndarray, notes: list[str]) -> np.ndarray:
    """A series `(n, axes)` as its kind hands it on, as the network takes it `(axes, samples)`, float32.

    Args:
        entry: What the student sees.
        series: The series.
        notes: Gets a sentence for what is odd, once.

    Raises:
        DataError: It has another number of axes.
        ValueError: Its joints are those of no body.
    """
    fit.check_axes(entry, series)
    if (note := fit.odd_units(entry, series)) is not None and note not in notes:
        notes.append(note)
    if entry.body is not None:
        series = relative(series, *entry.body.joints)
    return resampled(series, entry.samples)


def check_recorded_rate(
    entry: SeriesInput | VideoInput,
    recorded: Recorded,
    rate_hz: float | None,
    *,
    any_rate: bool,
    doing: str = "predict",
) -> None:
    """Refuses a recording of another rate than the student's.

    Args:
        entry: What the student sees.
        recorded: The recording.
        rate_hz: What its user says that its rate is.
        any_rate: Whether any will do.
        doing: What is done with it: predict, or play.

    Raises:
        DataError: It has another.
        UsageError: Its times say what its rate is.
    """
    if recorded.evened and rate_hz is not None:
        raise UsageError(
            f"the {entry.source} has times, which say that it has {recorded.rate_hz:.4g} samples a second: another "
            "rate has no effect",
            hint="Leave --rate (rate_hz) out.",
        )
    if not any_rate:
        fit.check_rate(entry, rate_hz or recorded.rate_hz, evened=recorded.evened, doing=doing)


def clip_tensor(entry: VideoInput, clip: np.ndarray) -> np.ndarray:
    """A clip `(T, side, side, channels)` at the size that the network takes, `(channels, T, size, size)`, uint8."""
    from kdbench.data.resizing import resized

    return resized(clip, entry.frame_size)
