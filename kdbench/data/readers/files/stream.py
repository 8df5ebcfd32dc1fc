"""One stream of one recording: its samples, and when they were taken."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.data.readers import text_series
from kdbench.data.recorded import Column, FileStream, TimeColumn
from kdbench.errors import near_misses
from kdbench.text.wording import counted, inflected
from kdbench.util import numpy_files

CARD, STUDENT = "the card has", "the student takes"
"""Who says how many axes there are, as messages begin."""


class ColumnError(ValueError):
    """A file lacks the columns that are looked for."""


class MissingValueError(ValueError):
    """Values are missing where they may not be.

    Args:
        what: Which, without what helps: a card may leave them out, whoever has none cannot.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; nan: drop in the card leaves such rows out")
        self.what = what


_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True)
class Stream:
    """Samples of a recording.

    Attributes:
        values: `(n, axes)`, float32, in the card's unit, in the order of the file.
        times: When each was taken `(n,)`, seconds of the stream's clock, float64; None where nothing tells.
    """

    values: np.ndarray
    times: np.ndarray | None = None

    @property
    def rate_hz(self) -> float | None:
        """Samples a second by its times; None without times, or where all are one."""
        if self.times is None or len(self.times) < 2 or self.times.max() <= self.times.min():
            return None
        return (len(self.times) - 1) / float(self.times.max() - self.times.min())


def read(content: bytes, stream: FileStream, axes: Sequence[str], rate_hz: float, *, by: str = CARD) -> Stream:
    """Reads a text or array file of a stream.

    Args:
        content: The whole file.
        stream: What the card says of it.
        axes: Names of its axes.
        rate_hz: Its nominal rate, which gives the times of one that has a clock and no times.
        by: Who says how many axes there are, for messages: `CARD` or `STUDENT`.

    Raises:
        ValueError: It is not what the card says.
    """
    if stream.is_text:
        values, times = _text(content, stream, axes, by)
    else:
        values, times = _array(content, len(axes), by), None
    if len(values) < stream.least_rows:
        raise ValueError(f"it has {counted(len(values), 'row')}, and {stream.least_rows} or more are expected")
    whole = np.isfinite(values).all(axis=1)
    if stream.nan == "refuse" and not whole.all():
        count = int((~whole).sum())
        raise MissingValueError(
            f"{counted(count, 'row')} of {len(values)} {inflected(count, 'holds', 'hold')} a value that is missing or "
            f"NaN, the first of them number {int(np.argmin(whole)) + 1}"
        )
    if stream.nan == "drop":
        values, times = values[whole], None if times is None else times[whole]
    if times is not None and not np.isfinite(times).all():
        raise ValueError("a time is missing")
    if times is None and stream.clock is not None:
        times = np.arange(len(values)) / rate_hz
    if times is not None:
        times = times + stream.offset_s
    with np.errstate(over="ignore"):
        return Stream((values * stream.factor).astype(np.float32), times)


def _array(content: bytes, axes: int, by: str) -> np.ndarray:
    array = numpy_files.load(content)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim not in (2, 3):
        raise ValueError("it is no array of numbers with two or three dimensions")
    flat = array.reshape(len(array), -1).astype(np.float64)
    if flat.shape[1] != axes:
        raise ValueError(f"it is {array.shape}: {flat.shape[1]} values a sample, {by} {axes}")
    return flat


def _text(content: bytes, stream: FileStream, axes: Sequence[str], by: str) -> tuple[np.ndarray, np.ndarray | None]:
    table = text_series.table(content, separator=stream.separator, skip=stream.skip_rows)
    when = None if stream.time is None else place_of(stream.time.column, table)
    columns = columns_of(table, stream, axes, when, by=by)
    values = table.numbers(columns, decimal=stream.decimal)
    if when is None or stream.time is None:
        return values, None
    return values, times_in(table, when, stream.time, decimal=stream.decimal)


def times_in(table: text_series.TextTable, column: int, time: TimeColumn, *, decimal: str | None = None) -> np.ndarray:
    """A column of times `(rows,)` in seconds, float64.

    Args:
        table: The table.
        column: The column's number.
        time: Its unit.
        decimal: As of `TextTable.numbers`.

    Raises:
        ValueError: A value is no time; the line is named.
    """
    if time.unit == "datetime":
        return moments(table.texts(column))
    return table.numbers([column], decimal=decimal)[:, 0] / _PER_SECOND[time.unit]


def columns_of(
    table: text_series.TextTable, stream: FileStream, axes: Sequence[str], when: int | None, *, by: str = CARD
) -> list[int]:
    """The columns of a stream's axes, by `FileStream.columns`.

    Raises:
        ColumnError: There are not as many as axes.
    """
    if stream.columns is not None:
        return [place_of(column, table) for column in stream.columns]
    small = [name.casefold() for name in table.names]
    if all(axis.casefold() in small for axis in axes):
        return [small.index(axis.casefold()) for axis in axes]
    missing = [axis for axis in axes if axis.casefold() not in small]
    if len(missing) < len(axes):
        # What is called as one axis is not the place of another.
        raise ColumnError(f"it has no column '{missing[0]}' (known: {', '.join(table.names)[:200]})")
    others = [column for column in range(table.width) if column != when]
    if len(others) != len(axes):
        beside = "" if when is None else " beside the time"
        raise ColumnError(f"it has {counted(len(others), 'column')}{beside}, {by} {counted(len(axes), 'axis', 'axes')}")
    return others


def place_of(column: Column, table: text_series.TextTable) -> int:
    """The number of a column.

    Raises:
        ColumnError: There is no such column.
    """
    if isinstance(column, int):
        place = column + table.width if column < 0 else column
        if not 0 <= place < table.width:
            raise ColumnError(f"it has {counted(table.width, 'column')}, and no column {column} (from 0)")
        return place
    small = [name.casefold() for name in table.names]
    if column.casefold() not in small:
        what = near_misses(column, table.names) if table.names else ": its first row holds no names"
        raise ColumnError(f"it has no column '{column}'{what}")
    return small.index(column.casefold())


def moments(texts: Sequence[str]) -> np.ndarray:
    """Seconds of dates with a time of day, by numpy where it takes all of them."""
    if all(text[-1:].isdigit() and "+" not in text and text.count("-") == 2 for text in texts):
        try:
            return np.array(texts, "datetime64[us]").astype(np.int64) / 1e6
        except ValueError:
            pass
    return np.array([_seconds(text) for text in texts])


def _seconds(text: str) -> float:
    """Seconds of a date with a time of day; one without a zone is taken as it stands."""
    try:
        moment = datetime.datetime.fromisoformat(text.strip().strip('"'))
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no date with a time of day") from None
    zone: Any = moment.tzinfo or datetime.UTC
    return moment.replace(tzinfo=zone).timestamp()
