"""Whether a recording is what a student was trained on: its axes, its rate, its units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kdbench.data.readers.files.oddities import GRAVITY
from kdbench.errors import DataError
from kdbench.students.schema import SeriesInput, VideoInput
from kdbench.text.wording import counted

RATE_TOLERANCE = 0.1
"""By what share a rate may differ."""
EVENED_TOLERANCE = 1.5
"""By what factor a rate may differ where samples are evened by their times; so far a data set says nothing of it."""
LONG = 3.0
"""From what multiple of the usual length on a recording is taken to be more than one action."""
SHORT = 5.0
"""A recording that would go so often into the usual length, and more, is taken to be a part of an action."""
UNIT_TOLERANCE = 0.25
"""By what share a ratio of sizes may differ from that of two units."""
_OTHER_UNITS: Mapping[str, tuple[float, str]] = {
    "g": (GRAVITY, "m/s²"),
    "m/s²": (1 / GRAVITY, "g"),
    "m/s^2": (1 / GRAVITY, "g"),
    "m/s2": (1 / GRAVITY, "g"),
}
"""What a value of a unit is multiplied by in the other unit that devices write; gravity makes it visible."""


def check_rate(
    entry: SeriesInput | VideoInput, rate_hz: float | None, *, evened: bool = False, doing: str = "predict"
) -> None:
    """Refuses a recording of another rate.

    Args:
        entry: What the student sees.
        rate_hz: Of the recording; None where nothing says so.
        evened: Whether it has been brought to the student's rate by its times.
        doing: What is done with it: predict, or play.

    Raises:
        DataError: It differs by more than `RATE_TOLERANCE`, or, where it is evened, by `EVENED_TOLERANCE`.
    """
    if rate_hz is None or abs(rate_hz / entry.rate_hz - 1) <= RATE_TOLERANCE:
        return
    if evened and 1 / EVENED_TOLERANCE <= rate_hz / entry.rate_hz <= EVENED_TOLERANCE:
        return
    raise DataError(
        f"the {entry.source} is recorded at {rate_hz:.4g} Hz, and the student was trained at {entry.rate_hz:g} Hz",
        hint=f"Record at that rate; or {doing} it all the same, by its relative time: --any-rate (any_rate=True).",
    )


def check_axes(entry: SeriesInput, series: np.ndarray) -> None:
    """Refuses a series `(n, axes)` of another number of axes.

    Raises:
        DataError: It has another number; the axes are named.
    """
    if series.shape[1] != len(entry.axes):
        named = f" ({', '.join(entry.axes)})" if len(entry.axes) <= 6 else ""
        raise DataError(
            f"the {entry.source} has {counted(series.shape[1], 'axis', 'axes')}, and the student takes "
            f"{len(entry.axes)}{named}",
            hint=f"It is {series.shape}: transpose it, so that a row is a sample."
            if is_transposed(entry, series)
            else f"Give a column for each axis, in this order: (n, {len(entry.axes)}).",
        )


def is_transposed(entry: SeriesInput, series: np.ndarray) -> bool:
    """Whether an array has the axes as its rows, and samples as its columns."""
    return series.ndim == 2 and len(series) == len(entry.axes) < series.shape[1]


def odd_units(entry: SeriesInput, series: np.ndarray) -> str | None:
    """A sentence where a series `(n, axes)` seems to be in another unit, or converted twice; None where it does not."""
    if entry.typical_size is None or not entry.typical_size > 0 or entry.unit not in _OTHER_UNITS:
        return None
    factor, other = _OTHER_UNITS[entry.unit]
    ratio = typical_size(series) / entry.typical_size
    for off, guess in (
        (factor, f"it looks like {other}"),
        (1 / factor, f"it looks as if {other} were converted twice"),
    ):
        if abs(ratio / off - 1) <= UNIT_TOLERANCE:
            change = f"divide by {off:.4g}" if off > 1 else f"multiply by {1 / off:.4g}"
            return (
                f"the {entry.source} is {ratio:.3g} times what the student was trained on: {guess}, and "
                f"{entry.unit} is expected; {change} (--factor {1 / off:.4g})"
            )
    return None


def odd_length(seconds: float, usual: float) -> str | None:
    """A sentence where a recording seems to be more than one action, or too little of one; None where it does not.

    Args:
        seconds: How long it lasts.
        usual: How long recordings of the training part last in the median.
    """
    lasts = f"it lasts {seconds:.3g} s, and recordings of the training {usual:.3g} s in the median"
    if seconds >= LONG * usual:
        return f"{lasts}: if it is more than one action, let windows slide over it: kdbench stream"
    if seconds * SHORT <= usual:
        return f"{lasts}: too little of an action may be in it"
    return None


def typical_size(series: np.ndarray) -> float:
    """Median length of the vector of a sample of a series `(n, axes)`."""
    return float(np.median(np.linalg.norm(series.astype(np.float64), axis=1)))
