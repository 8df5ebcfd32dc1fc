"""Windows of continuous recordings, and the annotations that give them their classes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdbench.data.readers import text_series
from kdbench.data.readers.files.stream import place_of
from kdbench.data.recorded import Windows

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
