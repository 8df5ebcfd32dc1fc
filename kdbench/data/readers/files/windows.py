"""Windows of continuous recordings, and the annotations that give them their classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdbench.data.readers import text_series
from kdbench.data.readers.base import expecting
from kdbench.data.readers.files.stream import place_of, times_in
from kdbench.data.recorded import Moments, Windows

START, END, LABEL = "start", "end", "label"
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Annotation:
    """A stretch of a recording that shows one class.

    Attributes:
        start: When it begins, seconds.
        end: When it ends.
        label: Its class, as written.
        line: Where it stands in its file.
    """

    start: float
    end: float
    label: str
    line: int


def expected(rule: Windows) -> str:
    """What an annotation file should hold, for messages."""
    if rule.moments is None:
        return "the columns start, end and label"
    return f"the columns {rule.moments.time.column} and {rule.moments.label}"


def annotated(content: bytes, rule: Windows, end: float, name: str, path: str) -> list[Annotation]:
    """The annotations of a recording as its card says, in their order in time.

    Args:
        content: The annotation file.
        rule: What the card says.
        end: When the recording ends, seconds.
        name: The recording, for messages.
        path: The file, for messages.

    Raises:
        DataError: It is not what the card says, or its stretches overlap.
    """
    wanted = f"rows of {expected(rule).removeprefix('the columns ')}, in the clock of the streams"
    with expecting(wanted if rule.moments else f"{wanted}, that do not overlap", name, path, hint=f"Mend {path}."):
        return entries_of(content) if rule.moments is None else entries_between(content, rule.moments, end)


def entries_of(content: bytes) -> list[Annotation]:
    """The annotations of a recording, in their order in time.

    Args:
        content: A text file with the columns `start`, `end` (seconds) and `label`; without names, in this order.

    Raises:
        ValueError: A column is missing, one ends before it begins, or two overlap; the lines are named.
    """
    table = text_series.table(content)
    columns = [place_of(name, table) if table.names else number for number, name in enumerate((START, END, LABEL))]
    if table.width <= max(columns):
        raise ValueError("expected the columns start, end and label")
    times, labels = table.numbers(columns[:2]), table.texts(columns[2])
    found = []
    for (line, _), (start, end), label in zip(table.rows, times.tolist(), labels, strict=True):
        if not start < end:
            raise ValueError(f"line {line}: it ends at {end:g} s and begins at {start:g} s")
        found.append(Annotation(start, end, label.strip().strip('"'), line))
    found.sort(key=lambda entry: (entry.start, entry.end))
    for one, next_ in itertools.pairwise(found):
        if next_.start < one.end - _ROUNDING:
            first, second = sorted((one.line, next_.line))
            raise ValueError(
                f"lines {first} and {second} overlap: {one.start:g} to {one.end:g} s ({one.label}) and "
                f"{next_.start:g} to {next_.end:g} s ({next_.label})"
            )
    return found


def entries_between(content: bytes, rule: Moments, end: float) -> list[Annotation]:
    """The annotations of a recording whose file holds moments, in their order in time.

    Args:
        content: A text file with a column of times and one of what begins then.
        rule: Which columns these are.
        end: When the recording ends, seconds.

    Raises:
        ValueError: A column is missing, a time is none, or two moments are one; the lines are named.
    """
    table = text_series.table(content)
    times = times_in(table, place_of(rule.time.column, table), rule.time)
    labels = [label.strip().strip('"').strip() for label in table.texts(place_of(rule.label, table))]
    marks = sorted(zip(times.tolist(), labels, (line for line, _ in table.rows), strict=True), key=lambda mark: mark[0])
    found = []
    for (start, label, line), (until, _, other) in itertools.pairwise([*marks, (math.inf, "", 0)]):
        if not until > start:
            first, second = sorted((line, other))
            raise ValueError(f"lines {first} and {second} are of one moment, {start:g} s")
        if label.casefold() not in {stop.casefold() for stop in ("", *rule.stop)}:
            found.append(Annotation(start, max(start, min(until, end)), label, line))
    return found


def windows(
    windows: Windows, entries: Sequence[Annotation], start: float, end: float
) -> Iterator[tuple[float, Annotation]]:
    """The windows of a recording that have a label: when each begins, and the annotation that covers it.

    Args:
        windows: Their length and stride.
        entries: The recording's annotations.
        start: When the recording begins, in every one of its streams.
        end: When it ends; no window reaches beyond.
    """
    for number in itertools.count():
        begin = start + number * windows.stride_s
        if begin + windows.seconds > end + _ROUNDING:
            return
        for entry in entries:
            covered = min(entry.end, begin + windows.seconds) - max(entry.start, begin)
            if covered >= windows.share * windows.seconds - _ROUNDING:
                yield begin, entry
