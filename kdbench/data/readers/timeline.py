"""Relative time, in which sensors and video are aligned: 0 is the start of a trial, 1 its end.

Each stream covers the whole trial at a rate of its own: sample k of n lies at (k + 1/2)/n. The streams of a trial are
never matched by sample or frame numbers. A clip whose frames are shown for unequal times is cut into equal parts too:
see `Showing`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def centres(count: int) -> np.ndarray:
    """Relative times `(count,)` of equally spaced samples, float64."""
    return (np.arange(count) + 0.5) / count


def centre_frames(count: int, frames: int) -> np.ndarray:
    """Indices `(frames,)` of the frames at the centres of equal parts of a clip of `count` frames."""
    return (centres(frames) * count).astype(np.int64)


@dataclass(frozen=True)
class Showing:
    """When each frame of a clip is shown, in equal parts of the clip's duration.

    There are as few parts as borders between frames allow: as many as frames where each is shown equally long.

    Attributes:
        parts: Number of equal parts.
        starts: The part `(frames,)` with which each frame appears; int64, not decreasing, from 0.
        ticks: How long the clip lasts, in ticks of its clock; None where frames have no times.
    """

    parts: int
    starts: np.ndarray
    ticks: int | None = None

    def frames(self, parts: np.ndarray) -> np.ndarray:
        """Indices of the frames that are shown at the start of the given parts."""
        return np.searchsorted(self.starts, parts, side="right") - 1


def showing(
    times: Sequence[int | None], durations: Sequence[int], *, tolerance: int = 1, longest: int | None = None
) -> Showing:
    """Works out for how long each frame is shown.

    A frame is shown until the next one appears, the last one for its own duration, or else as long as most. Where times
    jump back (recordings put one behind the other), or ahead by more than `longest`, a frame is shown for its own
    duration. Frames without a time share the gap that they lie in equally.

    Args:
        times: When each frame appears, in ticks of the clip's clock; None where nothing says so.
        durations: What is stated of each frame's duration, in ticks; 0 where nothing is.
        tolerance: By how many ticks the times of equally long frames may be rounded.
        longest: A longer gap is a jump of the clock; None where the clock never jumps.

    Raises:
        ValueError: There are no frames, or the times span more than a clock can.
    """
    if not times:
        raise ValueError("it has no frames")
    known = [(number, time) for number, time in enumerate(times) if time is not None]
    timed = len({time for _, time in known}) > 1
    if timed:
        filled = _filled(known, durations, len(times))
        steps = [after - before for before, after in itertools.pairwise(filled)]
        usual = round(statistics.median([s for s in steps if s > 0] or [1]))
        tolerance = min(tolerance, usual // 2)
        own = [duration if duration > 0 else usual for duration in durations]
        steps = [s if s >= 0 and (longest is None or s <= longest) else o for s, o in zip(steps, own, strict=False)]
    else:
        # Nothing tells the frames' times apart but, at most, how long each lasts.
        steps, own = list(durations[:-1]), list(durations)
        if not all(own):
            steps, own = [1] * (len(times) - 1), [1] * len(times)
    steps.append(own[-1])
    edges = [0]
    for step in steps:
        edges.append(edges[-1] + step)
    total, count = edges[-1], len(times)
    if total > 2**53:
        raise ValueError("its frames have impossible times")
    if all(abs(edge * count - number * total) <= tolerance * count for number, edge in enumerate(edges)):
        return Showing(count, np.arange(count), total if timed else None)
    part = math.gcd(*steps)
    return Showing(total // part, np.array(edges[:-1], np.int64) // part, total if timed else None)


def _filled(known: Sequence[tuple[int, int]], durations: Sequence[int], count: int) -> list[int]:
    """A time for each frame: unknown ones lie equally between their neighbours, or follow by their durations."""
    (first, start), (last, end) = known[0], known[-1]
    between = (end - start) / (last - first)
    filled = [time for _, time in known]
    if len(known) < count:
        filled = np.rint(np.interp(np.arange(count), [number for number, _ in known], filled)).astype(int).tolist()
    for number in range(last + 1, count):
        filled[number] = filled[number - 1] + (durations[number - 1] or round(between))
    for number in range(first - 1, -1, -1):
        filled[number] = filled[number + 1] - (durations[number] or round(between))
    return filled


def resample(series: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation of a series at the centres of `length` equal parts.

    Args:
        series: Samples `(n, axes)`.
        length: Number of samples wanted.

    Returns:
        `(axes, length)`, float32; equal to the transposed input where `length` is n.
    """
    at, known = centres(length), centres(len(series))
    return np.stack([np.interp(at, known, axis) for axis in series.T]).astype(np.float32)
