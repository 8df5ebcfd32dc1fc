"""A student that watches: sliding windows over what comes in, smoothed, without the future."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.data.readers.kinds import series_kind, video_kind
from kdbench.data.readers.running import RunningSeries, RunningVideo, running_video
from kdbench.errors import DataError, UsageError
from kdbench.students.incoming import Feed, Item, Played, Taken
from kdbench.students.prediction import softmax
from kdbench.students.schema import Export, Input, SeriesInput
from kdbench.students.student import Student, series_tensor

SMOOTHING = 0.5
STRIDES = 4
"""Windows that begin within the length of one."""
LEAST_ITEMS = STRIDES
"""Samples or frames of the shortest window, so that the usual stride is no shorter than one of them."""
_LONGEST_SECONDS = 3600.0
_INSTANT = 1e-9
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
        latency_ms: For how long the computer worked on the prediction, once it knew that the window was over. It knows
            that when the first sample or frame behind the window is there; the wait for that one is not counted.
        items: Samples or frames that came in so far.
        busy_seconds: For how long the computer has worked on them so far: reading, decoding, resizing and predicting.
        missing: Why there is nothing to be seen; None where there is.
        notes: What is odd about what came in so far, a sentence for each source at most.
        shown: The last frame that the network was shown `(size, size)` or `(size, size, 3)`, uint8; None without video.
        dropped: Frames that came so far while the computer was busy, and were left out.
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
    dropped: int = 0

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


def spread(entry: Input) -> str:
    """What of a recording's length a network is shown, which a window has less of."""
    if not isinstance(entry, SeriesInput):
        return f"{entry.frames} frames of the {entry.source} spread over the window, not over the recording"
    if entry.samples is None:
        return f"the {entry.source} of the window, at its own length"
    return f"the {entry.source} of the window, not of the recording, resampled to {entry.samples} samples"


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
            ("window", self.window, _LONGEST_SECONDS),
            ("stride", self.stride, _LONGEST_SECONDS),
            ("smoothing", self.smoothing, 1.0),
        ):
            if not 0 < value <= most:
                raise UsageError(
                    f"{name} = {value:g}: expected more than 0 and at most {most:g}",
                    hint=f"Leave it out, or say --{name} NUMBER ({name}=NUMBER).",
                )
        _check_lengths(student.export, self.window, self.stride)
        self.student = student

    def watch(self, feeds: Mapping[str, Feed | Iterator[Item]]) -> Iterator[Watched]:
        """Says what each window holds, as soon as it is over.

        A recording that is shorter than a window makes one window.

        Args:
            feeds: What comes in of each source, in the order of time.

        Raises:
            DataError: Something else comes in than the student sees.
        """
        made = {source: feed if isinstance(feed, Feed) else Played(feed) for source, feed in feeds.items()}
        try:
            yield from self._watch(made)
        finally:
            for feed in made.values():
                feed.close()

    def _watch(self, feeds: Mapping[str, Feed]) -> Iterator[Watched]:
        program, inputs = self.student.program, self.student.export.inputs
        held = {entry.source: running(entry) for entry in inputs}
        ahead: dict[str, Taken | None] = {source: feed.take() for source, feed in feeds.items()}
        smoothed: np.ndarray | None = None
        notes: dict[str, str] = {}
        items, busy, number, end, last = 0, 0.0, 0, self.window, 0.0
        while True:
            for source, feed in feeds.items():
                while (taken := ahead[source]) is not None and taken.seconds <= end + _INSTANT:
                    began = time.perf_counter()
                    _add(held[source], source, taken)
                    busy += taken.work_seconds + time.perf_counter() - began
                    items, last = items + 1, taken.seconds
                    ahead[source] = feed.take()
            over = any(taken is None for taken in ahead.values()) and last < end - self.stride / 2
            if over and (number or not items):
                return
            began = time.perf_counter()
            if over:
                end = last
            for each in held.values():
                each.forget(end - self.window + _INSTANT)
            probabilities, shown, missing = None, None, None
            try:
                tensors = {}
                for entry in inputs:
                    odd: list[str] = []
                    tensors[entry.tensor] = tensor_of_window(entry, held[entry.source], odd)[np.newaxis]
                    if odd:
                        notes.setdefault(entry.source, odd[0])
                probabilities = softmax(program(tensors))[0]
                shown = _shown(tensors)
                before = probabilities if smoothed is None else smoothed
                smoothed = self.smoothing * probabilities + (1 - self.smoothing) * before
            except ValueError as error:
                missing = str(error)
            took = time.perf_counter() - began
            busy += took
            yield Watched(
                number,
                max(end - self.window, 0.0),
                end,
                probabilities,
                smoothed,
                1000 * took,
                items,
                busy,
                missing,
                shown,
                tuple(notes.values()),
                sum(feed.dropped for feed in feeds.values()),
            )
            if over:
                return
            number += 1
            end += self.stride


def _check_lengths(export: Export, window: float, stride: float) -> None:
    """Refuses windows of hardly any samples or frames, and such as differ by none.

    Raises:
        UsageError: So it is.
    """
    slowest = min(export.inputs, key=lambda entry: entry.rate_hz)
    if window * slowest.rate_hz < LEAST_ITEMS - _INSTANT:
        least = LEAST_ITEMS / slowest.rate_hz
        raise UsageError(
            f"window = {window:g} s: at {slowest.rate_hz:g} a second it holds "
            f"{window * slowest.rate_hz:.2g} of the {slowest.source}, and {LEAST_ITEMS} are the fewest",
            hint=f"Say --window SECONDS (window=SECONDS) with {least:.3g} or more; the usual is "
            f"{export.window.seconds:g}.",
        )
    fastest = max(export.inputs, key=lambda entry: entry.rate_hz)
    if stride * fastest.rate_hz < 1 - _INSTANT:
        raise UsageError(
            f"stride = {stride:g} s: the {fastest.source} comes {fastest.rate_hz:g} times a second, so that windows "
            "would be the same",
            hint=f"Say --stride SECONDS (stride=SECONDS) with {1 / fastest.rate_hz:.3g} or more.",
        )


def _add(held: Running, source: str, taken: Taken) -> None:
    try:
        held.add(taken.seconds, taken.value)
    except ValueError as error:
        raise DataError(
            f"the {source} at {taken.seconds:.2f} s: {error}", hint="Mend the recording, or cut it before that."
        ) from error


def _shown(tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The last frame of the first clip, as a picture."""
    for tensor in tensors.values():
        if tensor.ndim == 5:
            frame = tensor[0, :, -1]
            return np.ascontiguousarray(frame[0] if len(frame) != 3 else frame.transpose(1, 2, 0))
    return None
