"""A series in a file: read as the card says from which the student has learnt, or as whoever gives it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.data.draft import contents
from kdbench.data.readers import text_series
from kdbench.data.readers.files import stream, timing
from kdbench.data.recorded import TEXT, FileStream
from kdbench.errors import UsageError
from kdbench.students.schema import SeriesInput
from kdbench.text.wording import counted

_SHOWN = 8
"""Columns that a message lists."""


@dataclass(frozen=True)
class Columns:
    """What is said of a file of a series beside what the export says.

    Attributes:
        axes: Its columns that are the axes, in their order, by name or by number from 0; None: as the export says.
        time: The column of times; None: as the export says, or, where `axes` are named, none.
        factor: What values are multiplied by, to be in the student's unit; None: as the export says.
    """

    axes: tuple[str | int, ...] | None = None
    time: str | int | None = None
    factor: float | None = None

    def __post_init__(self) -> None:
        if self.axes is not None and not self.axes:
            raise UsageError("no column is named", hint="Name a column for each axis, for example x,y,z.")
        if self.factor is not None and not (np.isfinite(self.factor) and self.factor):
            raise UsageError(
                f"factor = {self.factor:g}: expected a number other than 0", hint="Such as 9.80665: g in m/s²"
            )


AS_EXPORTED = Columns()


@dataclass(frozen=True)
class Series:
    """A series as a student takes it.

    Attributes:
        samples: `(n, axes)`.
        rate_hz: Samples a second, as the file has them; None where nothing says so.
        evened: Whether they have been brought to the student's rate by their times.
    """

    samples: np.ndarray
    rate_hz: float | None = None
    evened: bool = False


class FileError(ValueError):
    """A file is not read; `hint` says what helps."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def is_described(entry: SeriesInput, ending: str) -> bool:
    """Whether an export says how files with this ending are read."""
    return entry.file is not None and (ending == entry.file.ending or {ending, entry.file.ending} <= set(TEXT))


def read(content: bytes, ending: str, entry: SeriesInput, said: Columns = AS_EXPORTED) -> Series:
    """Reads a text file, or an array file that the export describes.

    Args:
        content: The whole file.
        ending: Of its name.
        entry: What the student sees.
        said: What is said of its columns.

    Raises:
        FileError: It lacks columns that are looked for, or has others; the message names them.
        ValueError: It is no such file.
    """
    if ending in TEXT and said == AS_EXPORTED and not is_described(entry, ending):
        table = text_series.table(content)
        if not set(map(str.casefold, entry.axes)) <= set(map(str.casefold, table.names)):
            return _by_place(content, table, entry)
    rule, gap = _rule(content, ending, entry, said)
    try:
        found = stream.read(content, rule, entry.axes, entry.rate_hz, by=stream.STUDENT)
    except stream.ColumnError as error:
        raise _mismatch(content, rule, entry, str(error)) from error
    except stream.MissingValueError as error:
        raise FileError(error.what, "Fill or delete those rows.") from error
    if said.time is None and not is_described(entry, ending):
        # The student has learnt from samples as they followed one another; its times tell their rate.
        return Series(found.values, found.rate_hz)
    samples = timing.steady(found, entry.rate_hz, gap)
    return Series(samples, found.rate_hz, samples is not found.values)


def _rule(content: bytes, ending: str, entry: SeriesInput, said: Columns) -> tuple[FileStream, float | None]:
    """How a file is read, and the longest pause that its times may have."""
    known: dict[str, Any] = {}
    gap = None
    if entry.file is not None and is_described(entry, ending):
        known = entry.file.model_dump(exclude={"ending", "longest_gap_s"})
        gap = entry.file.longest_gap_s
    if said.axes is not None:
        known = {**known, "columns": said.axes, "separator": None, "decimal": None, "skip_rows": 0, "time": None}
        if len(said.axes) != len(entry.axes):
            raise FileError(
                f"{counted(len(said.axes), 'column')} {'is' if len(said.axes) == 1 else 'are'} named, and the "
                f"{entry.source} has {counted(len(entry.axes), 'axis', 'axes')}",
                f"Name one for each of {_listed(entry.axes)}, in this order.",
            )
    if said.factor is not None:
        known["factor"] = said.factor
    if ending in TEXT and (said.time is not None or "time" not in known):
        table = text_series.table(content, separator=known.get("separator"), skip=known.get("skip_rows", 0))
        try:
            known["time"] = contents.time_of(table, said.time)
        except stream.ColumnError as error:
            raise FileError(str(error), "Name another: --time-column COLUMN") from error
        if said.time is not None and known["time"] is None:
            raise FileError(
                f"its column {said.time} holds no times that grow", f"Its columns are {_listed(table.names)}."
            )
    return FileStream.model_validate({**known, "path": f"recording{ending}"}), gap


def _by_place(content: bytes, table: text_series.TextTable, entry: SeriesInput) -> Series:
    """A table of the axes alone, or of a time in seconds and the axes."""
    width, axes = table.width, len(entry.axes)
    if width == axes:
        return Series(text_series.read(content, range(axes)))
    if width != axes + 1:
        there = f" ({_listed(table.names)})" if table.names else ""
        raise FileError(
            f"it has {counted(width, 'column')}{there}, and the {entry.source} has {counted(axes, 'axis', 'axes')} "
            "(and a time before them, or none)",
            _example(content, entry),
        )
    samples = text_series.read(content, range(1, axes + 1))
    try:
        seconds = text_series.read(content, [0])[:, 0].astype(np.float64)
    except ValueError:
        # A time of day or a date: the series is whole, and nothing says how fast it is.
        return Series(samples)
    steps = np.diff(seconds)
    if len(steps) == 0 or not (steps > 0).all():
        raise ValueError(f"its first column is no time that grows, and the {entry.source} has {axes} axes")
    return Series(samples, 1 / float(np.median(steps)))


def _mismatch(content: bytes, rule: FileStream, entry: SeriesInput, reason: str) -> FileError:
    """What was looked for, and what is there."""
    wanted = _listed(rule.columns if rule.columns is not None else entry.axes)
    time = "" if rule.time is None else f", and times in {_named(rule.time.column)}"
    return FileError(f"{reason}; looked for columns {wanted}{time}", _example(content, entry))


def _example(content: bytes, entry: SeriesInput) -> str:
    """What to say for the file to be read, as far as its names tell; where it cannot be, what it lacks."""
    try:
        found = contents.look(content)
    except ValueError:
        found = contents.Contents()
    columns = [column for part in found.parts for column in part.columns or part.axes]
    there = [column for column in columns if not contents.is_called_time(column)]
    if there and len(there) < len(entry.axes):
        return f"The student needs {_all_of(entry.axes)}; this file has {_all_of(there)}."
    # Where names say nothing of axes, all columns of numbers are one part, under their own names.
    parts = [part for part in found.parts if len(part.axes) == len(entry.axes) and part.columns != part.axes]
    alike = [part for part in parts if part.name[:3].casefold() == entry.source[:3].casefold() and part.name]
    words = [*map(str, (alike or parts)[0].columns or (alike or parts)[0].axes)] if parts else ["COLUMN", "COLUMN", "…"]
    when = None if found.time is None else str(found.time["column"])
    if any("," in word for word in words):
        words = ["NUMBER", "NUMBER", "…"]
    example = f"--columns {shlex.quote(','.join(words))}" + (f" --time-column {shlex.quote(when)}" if when else "")
    return f"Say which columns are meant: {example}"


def _listed(names: Sequence[str | int]) -> str:
    shown = ", ".join(map(_named, names[:_SHOWN]))
    return f"{shown}, … ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else shown


def _all_of(names: Sequence[str | int]) -> str:
    shown = [_named(name) for name in names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if 1 < len(shown) <= _SHOWN else _listed(names)


def _named(column: str | int) -> str:
    return f"number {column}" if isinstance(column, int) else column


def columns_from(text: str) -> tuple[str | int, ...]:
    """Columns as they are typed: names or numbers with commas between."""
    return tuple(column_from(word) for word in text.split(",") if word.strip())


def column_from(word: str) -> str | int:
    """A column as it is typed: a number from 0 (-1 is the last), or a name."""
    return int(word) if re.fullmatch(r"\s*-?\d+\s*", word) else word.strip()
