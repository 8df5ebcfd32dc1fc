"""A student that watches: sliding windows over what comes in, smoothed, without the future."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.data.readers.kinds import series_kind, video_kind
from kdbench.data.readers.running import RunningSeries, RunningVideo, running_video
from kdbench.errors import DataError, UsageError
from kdbench.students.prediction import softmax
from kdbench.students.schema import Export, Input, SeriesInput
from kdbench.students.student import Student, series_tensor

SMOOTHING = 0.5
STRIDES = 4
"""Windows that begin within the length of one."""
_INSTANT = 1e-9
Item = tuple[float, np.ndarray]
"""Seconds since the beginning, and a sample or a frame."""
Running = RunningSeries | RunningVideo


@dataclass(frozen=True, eq=False)
class Watched:
    """What a student says of one window.

    Attributes:
        number: Of the window, from 0.
        start: When it begins, seconds.
        end: When it ends.
        probabilities: Of each class `(K,)`; None where there is nothing to be seen.
        smoothed: Exponential average of this window and those before it `(K,)`; None before anything was seen.
        latency_ms: From the last sample or frame to the prediction.
        items: Samples or frames that came in so far.
        busy_seconds: For how long the computer has worked on them so far.
        missing: Why there is nothing to be seen; None where there is.
        notes: What is odd about what came in so far, a sentence each.
        shown: The last frame that the network was shown `(size, size)` or `(size, size, 3)`, uint8; None without video.
    """

    number: int
    start: float
    end: float
    probabilities: np.ndarray | None
    smoothed: np.ndarray | None
    latency_ms: float
    items: int
    busy_seconds: float
    missing: str | None = None
    shown: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def holds_hz(self) -> float:
        """Samples or frames a second that this computer could take."""
        return self.items / self.busy_seconds if self.busy_seconds else 0.0


def running(entry: Input) -> Running:
    """What keeps the last seconds of an input."""
    if isinstance(entry, SeriesInput):
        return RunningSeries(series_kind(entry.kind))
    return running_video(
        video_kind(entry.kind),
        frames=entry.frames,
        height=entry.height,
        frame_size=entry.frame_size,
        channels=entry.channels,
    )


def tensor_of_window(entry: Input, held: Running, notes: list[str]) -> np.ndarray:
    """What the network takes of the window, without the batch axis.

    Args:
        entry: An input.
        held: What came in of it.
        notes: Gets a sentence for what is odd.

    Raises:
        ValueError: There is nothing to be seen.
        DataError: It has another number of axes.
    """
    if isinstance(held, RunningVideo):
        return held.tensor()
    assert isinstance(entry, SeriesInput)
    return series_tensor(entry, held.series(), notes)


def check_streams(export: Export) -> None:
    """Refuses a student whose preprocessing needs a whole recording, where nobody measured what windows cost it.

    Raises:
        UsageError: So it is.
    """
    if export.needs_trial and export.causal is None:
        what = "; ".join(part for parts in export.needs_trial.values() for part in parts)
        raise UsageError(
            f"this student's preprocessing looks at the whole recording ({what}), and what a stream costs it was not "
            "measured",
            hint="Export it again: kdbench export RUN --causal",
        )


class Stream:
    """Sliding windows over what comes in.

    Args:
        student: Says what it sees.
        window: Seconds of a window; by default the median recording of the training part.
        stride: Seconds between windows; by default a quarter of a window.
        smoothing: Weight of the newest window in the average, above 0; 1 does not smooth.

    Raises:
        UsageError: A value out of its range, or a student of which nobody measured what a stream costs.
    """

    def __init__(
        self,
        student: Student,
        *,
        window: float | None = None,
        stride: float | None = None,
        smoothing: float | None = None,
    ) -> None:
        check_streams(student.export)
        causal = student.export.causal
        usual = causal.window_seconds if causal else student.export.window.seconds
        self.window = usual if window is None else window
        self.stride = self.window / STRIDES if stride is None else stride
        self.smoothing = (causal.smoothing if causal else SMOOTHING) if smoothing is None else smoothing
        for name, value, most in (
            ("window", self.window, 3600.0),
            ("stride", self.stride, 3600.0),
            ("smoothing", self.smoothing, 1.0),
        ):
            if not 0 < value <= most:
                raise UsageError(
                    f"{name} = {value:g}: expected more than 0 and at most {most:g}",
                    hint="Leave it out for the usual one.",
                )
        self.student = student

    def watch(self, feeds: Mapping[str, Iterator[Item]]) -> Iterator[Watched]:
        """Says what each window holds, as soon as it is over.

        A recording that is shorter than a window makes one window.

        Args:
            feeds: What comes in of each source, in the order of time.

        Raises:
            DataError: Something else comes in than the student sees.
        """
        program, inputs = self.student.program, self.student.export.inputs
        held = {entry.source: running(entry) for entry in inputs}
        ahead: dict[str, Item | None] = {source: next(feed, None) for source, feed in feeds.items()}
        smoothed: np.ndarray | None = None
        notes: list[str] = []
        items, busy, number, end, last = 0, 0.0, 0, self.window, 0.0
        while True:
            for source, feed in feeds.items():
                while (item := ahead[source]) is not None and item[0] <= end + _INSTANT:
                    began = time.perf_counter()
                    _add(held[source], source, item)
                    busy, items, last = busy + time.perf_counter() - began, items + 1, item[0]
                    ahead[source] = next(feed, None)
            over = any(item is None for item in ahead.values()) and last < end - self.stride / 2
            if over and (number or not items):
                return
            began = time.perf_counter()
            if over:
                end = last
            for each in held.values():
                each.forget(end - self.window + _INSTANT)
            probabilities, shown, missing = None, None, None
            try:
                tensors = {
                    entry.tensor: tensor_of_window(entry, held[entry.source], notes)[np.newaxis] for entry in inputs
                }
                probabilities = softmax(program(tensors))[0]
                shown = _shown(tensors)
                before = probabilities if smoothed is None else smoothed
                smoothed = self.smoothing * probabilities + (1 - self.smoothing) * before
            except ValueError as error:
                missing = str(error)
            took = time.perf_counter() - began
            busy += took
            start = max(end - self.window, 0.0)
            yield Watched(
                number, start, end, probabilities, smoothed, 1000 * took, items, busy, missing, shown, tuple(notes)
            )
            if over:
                return
            number += 1
            end += self.stride


def _add(held: Running, source: str, item: Item) -> None:
    try:
        held.add(*item)
    except ValueError as error:
        raise DataError(
            f"the {source} at {item[0]:.2f} s: {error}", hint="Mend the recording, or cut it before that."
        ) from error


def _shown(tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The last frame of the first clip, as a picture."""
    for tensor in tensors.values():
        if tensor.ndim == 5:
            frame = tensor[0, :, -1]
            return np.ascontiguousarray(frame[0] if len(frame) != 3 else frame.transpose(1, 2, 0))
    return None


def paced(items: Iterator[Item], speed: float) -> Iterator[Item]:
    """The same, as they would come in.

    Args:
        items: In the order of time.
        speed: 1 as recorded, 2 twice as fast; 0 as fast as can be.
    """
    began = time.monotonic()
    for seconds, value in items:
        if speed > 0:
            time.sleep(max(0.0, began + seconds / speed - time.monotonic()))
        yield seconds, value


def items_of(array: np.ndarray, rate_hz: float) -> Iterator[Item]:
    """The samples or frames of a recording, each at the end of its share of time."""
    return (((place + 1) / rate_hz, value) for place, value in enumerate(array))
