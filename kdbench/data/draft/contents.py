"""What is in a file of samples: its time column, its axes, their units and its rate, guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdbench.data.readers import text_series
from kdbench.data.readers.files.oddities import GRAVITY
from kdbench.data.readers.files.stream import moments, place_of
from kdbench.data.recorded import Moments

_TIME = (r"seconds_elapsed", r"elapsed.*", r"time ?\(s\)", r"time_?s", r"seconds?", r"t", r"time.*", r"timestamp.*")
_ALSO_TIME = re.compile(r"seconds_elapsed|elapsed.*|time.*")
"""Columns that are no axes, where another one is the time: Sensor Logger writes it twice."""
_AXIS = re.compile(r"(?P<before>.*?)[ _\-.]?(?P<axis>[wxyz])(?P<after>[ _]?(\(.*\)|\[.*\])?)", re.IGNORECASE)
_UNIT = re.compile(r"[(\[](?P<unit>[^)\]]+)[)\]]")
_UNITS = {"m/s^2": "m/s²", "m/s2": "m/s²", "m/s²": "m/s²", "rad/s": "rad/s", "°/s": "deg/s", "deg/s": "deg/s", "g": "g"}
_OF_MOMENTS = ("seconds_elapsed", "text")
_NOTHING = {"", *Moments().stop}
USUAL_RATES = (1, 2, 5, 10, 12.5, 15, 20, 24, 25, 30, 32, 40, 50, 60, 64, 100, 120, 125, 128, 200, 250, 256, 400, 500)
LEAST_JOINTS = 5
_NEAR = 0.04


@dataclass(frozen=True)
class Axes:
    """Some columns of a file that are one sensor or skeleton.

    Attributes:
        name: What the columns' names call it; empty where they say nothing.
        axes: Names of its axes.
        columns: Names, or numbers, of the columns; None where the axes' own names do.
        unit: Its unit, as the names state it or the values suggest it; empty where nothing does.
    """

    name: str
    axes: tuple[str, ...]
    columns: tuple[str | int, ...] | None
    unit: str


@dataclass(frozen=True)
class Contents:
    """What is in a text file.

    Attributes:
        time: The time column, as a card has it; None without one.
        parts: Its sensors or skeletons.
        rate_hz: Samples a second; None where there are no times.
        span: When it begins and ends, seconds; None without times.
        is_annotations: Whether it holds the start, end and label of stretches of time.
        are_moments: Whether it holds moments and what begins at each, as Sensor Logger's `Annotation.csv`.
        labels: The labels, in these cases.
    """

    time: dict[str, Any] | None = None
    parts: tuple[Axes, ...] = ()
    rate_hz: float | None = None
    span: tuple[float, float] | None = None
    is_annotations: bool = False
    are_moments: bool = False
    labels: tuple[str, ...] = field(default_factory=tuple)


def look(content: bytes) -> Contents:
    """Guesses what is in a text file.

    Raises:
        ValueError: It is no text, has no rows, or no columns of numbers.
    """
    table = text_series.table(content)
    names = [name.casefold() for name in table.names]
    if {"start", "end", "label"} <= set(names):
        labels = dict.fromkeys(text.strip().strip('"') for text in table.texts(names.index("label")))
        return Contents(is_annotations=True, labels=tuple(labels))
    if set(_OF_MOMENTS) <= set(names):
        texts = dict.fromkeys(text.strip().strip('"').strip() for text in table.texts(names.index(_OF_MOMENTS[1])))
        return Contents(are_moments=True, labels=tuple(text for text in texts if text.casefold() not in _NOTHING))
    time, times = _time(table)
    beside = {k for k, name in enumerate(names) if time is not None and _ALSO_TIME.fullmatch(name)}
    beside |= set() if time is None else {time[0]}
    numeric = [k for k in range(table.width) if k not in beside and _is_numeric(table, k)]
    if not numeric:
        raise ValueError("it has no columns of numbers")
    stamp = None if time is None else {"column": time[1]} | ({} if time[2] == "s" else {"unit": time[2]})
    if times is None:
        return Contents(stamp, tuple(_parts(table, numeric)))
    return Contents(stamp, tuple(_parts(table, numeric)), rate_of(times), (float(times.min()), float(times.max())))


def time_of(table: text_series.TextTable, column: str | int | None = None) -> dict[str, Any] | None:
    """The column of times of a table and its unit, as a card has them; None where none is one.

    Args:
        table: The table.
        column: The column that is known to be it, by name or number; None guesses.

    Raises:
        ColumnError: There is no such column.
    """
    found, _ = _time(table, None if column is None else place_of(column, table))
    return None if found is None else {"column": found[1], "unit": found[2]}


def is_called_time(column: str | int) -> bool:
    """Whether a column is called as times are."""
    return isinstance(column, str) and any(re.fullmatch(form, column.casefold()) for form in _TIME)


def rate_of(times: np.ndarray) -> float | None:
    """Samples a second, as one would state it; None where the times do not advance."""
    if len(times) < 2 or times.max() <= times.min():
        return None
    rate = (len(times) - 1) / float(times.max() - times.min())
    near = min(USUAL_RATES, key=lambda usual: abs(usual / rate - 1))
    return float(near if abs(near / rate - 1) < _NEAR else float(f"{rate:.3g}"))


def _is_numeric(table: text_series.TextTable, column: int) -> bool:
    try:
        return bool(np.isfinite(table.numbers([column])).any())
    except ValueError:
        return False


def _time(
    table: text_series.TextTable, known: int | None = None
) -> tuple[tuple[int, str | int, str] | None, np.ndarray | None]:
    """Number, name and unit of the column of times, and the times in seconds."""
    names = [name.casefold() for name in table.names]
    ordered = [k for form in _TIME for k, name in enumerate(names) if re.fullmatch(form, name)]
    candidates = [*ordered, *([] if names else range(min(2, table.width)))] if known is None else [known]
    for column in dict.fromkeys(candidates):
        called: str | int = table.names[column] if names else column
        texts = table.texts(column)
        if re.match(r'"?\d{4}-\d{2}-\d{2}[T ]\d', texts[0]):
            return (column, called, "datetime"), moments(texts)
        if not _is_numeric(table, column):
            continue
        values = table.numbers([column])[:, 0]
        steps = np.diff(values)
        grows = len(steps) > 0 and (steps < 0).mean() < 0.01 and (known is None or values[-1] > values[0])
        if grows and (names or known is not None or _looks_like_times(values)):
            unit, per_second = _unit_of(values, names[column] if names else "")
            return (column, called, unit), values / per_second
    return None, None


def _looks_like_times(values: np.ndarray) -> bool:
    """Whether a column without a name counts time: it rises all along."""
    steps = np.diff(values)
    return bool(len(steps) > 1 and (steps >= 0).all() and (steps > 0).mean() > 0.5)


def _unit_of(values: np.ndarray, name: str) -> tuple[str, float]:
    stated = _UNIT.search(name)
    for word, per_second in (("ns", 1e9), ("us", 1e6), ("ms", 1e3), ("s", 1.0)):
        if (stated and stated["unit"].strip() == word) or name.endswith(f"_{word}"):
            return word, per_second
    largest = float(np.abs(values).max())
    for word, per_second, least in (("ns", 1e9, 1e17), ("us", 1e6, 1e14), ("ms", 1e3, 1e11)):
        if largest > least:
            return word, per_second
    step = float(np.median(np.diff(values)))
    return ("ms", 1e3) if step >= 2 and largest > 1000 else ("s", 1.0)


def _parts(table: text_series.TextTable, numeric: Sequence[int]) -> list[Axes]:
    if not table.names:
        return [_by_number(table, numeric)]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for column in numeric:
        if (match := _AXIS.fullmatch(table.names[column])) is not None:
            key = match["before"].strip(" _-."), (match["after"] or "").strip()
            found.setdefault(key, {})[match["axis"].casefold()] = table.names[column]
    whole = {key: axes for key, axes in found.items() if set("xyz") <= set(axes)}
    if len(whole) >= LEAST_JOINTS:
        columns = tuple(axes[axis] for axes in whole.values() for axis in "xyz")
        return [Axes("skeleton", tuple(before or f"joint {k}" for k, (before, _) in enumerate(whole)), columns, "")]
    parts = []
    for (before, after), axes in whole.items():
        # With a w it is a quaternion, which says how the device is turned, and has no unit.
        present = tuple(sorted(axes))
        columns = tuple(axes[axis] for axis in present)
        own = None if tuple(map(str.casefold, columns)) == present else columns
        unit = "1" if "w" in present else _unit(table, columns, after, before)
        parts.append(Axes(before, present, own, unit))
    if parts:
        return parts
    names = tuple(table.names[column] for column in numeric)
    return [Axes("", names, names, "")]


def _by_number(table: text_series.TextTable, numeric: Sequence[int]) -> Axes:
    if len(numeric) % 3 == 0 and len(numeric) >= 3 * LEAST_JOINTS:
        return Axes("skeleton", tuple(f"joint {k}" for k in range(len(numeric) // 3)), tuple(numeric), "")
    axes = ("x", "y", "z") if len(numeric) == 3 else tuple(f"c{k}" for k in range(len(numeric)))
    return Axes("", axes, tuple(numeric), _unit(table, tuple(numeric), "", ""))


def _unit(table: text_series.TextTable, columns: Sequence[str | int], after: str, name: str) -> str:
    """The unit that names state, or that gravity shows: 1 g, or 9.81 m/s²."""
    if stated := _UNIT.search(after):
        return _UNITS.get(stated["unit"].strip().casefold(), stated["unit"].strip())
    if re.search("gyro|rot", name, re.IGNORECASE):
        return ""
    places = [table.names.index(column) if isinstance(column, str) else column for column in columns]
    middle = float(np.median(np.linalg.norm(table.numbers(places), axis=1)))
    for size, unit in ((GRAVITY, "m/s²"), (1.0, "g")):
        if abs(middle / size - 1) < 0.1:
            return unit
    return ""
