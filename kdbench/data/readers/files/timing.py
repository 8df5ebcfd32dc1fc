"""Streams that share a clock, brought to one span of time; and streams of uneven rates, evened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.data.readers.files.stream import Stream
from kdbench.data.readers.timeline import centres
from kdbench.data.recorded import Overlap


@dataclass(frozen=True)
class Extent:
    """When a stream begins and ends, in seconds of its clock; `jumps` where its times cannot be relied on."""

    start: float
    end: float
    jumps: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.start


def extent_of(times: np.ndarray, longest_gap_s: float | None = None) -> Extent:
    """When a stream begins and ends: half a usual step before its first sample, and behind its last.

    Args:
        times: `(n,)`, seconds, in the order of the file; at least one.
        longest_gap_s: As in `Overlap`.
    """
    ordered = np.sort(times)
    steps = np.diff(np.unique(ordered))
    half = float(np.median(steps)) / 2 if len(steps) else 0.0
    jumps = False
    if longest_gap_s is not None and len(steps):
        jumps = float(np.diff(times).min()) < -longest_gap_s or float(steps.max()) > longest_gap_s
    return Extent(float(ordered[0]) - half, float(ordered[-1]) + half, jumps)


def common(extents: Mapping[str, Extent], overlap: Overlap) -> tuple[float, float]:
    """The span that all streams of a clock cover.

    Args:
        extents: Of each stream, at least one.
        overlap: How far they have to agree.

    Raises:
        ValueError: They agree less, or times of one jump.
    """
    start, end = max(e.start for e in extents.values()), min(e.end for e in extents.values())
    longest = max(e.seconds for e in extents.values())
    if jumping := next((name for name, extent in extents.items() if extent.jumps), None):
        raise ValueError(f"the times of the {jumping} step back, or pause for more than {overlap.longest_gap_s:g} s")
    if end <= start or end - start < overlap.least * longest:
        spans = ", ".join(f"{name} {e.start:.2f} to {e.end:.2f} s" for name, e in extents.items())
        raise ValueError(
            f"its streams have {max(0.0, end - start):.2f} s in common, expected at least {100 * overlap.least:g} % "
            f"of {longest:.2f} s ({spans})"
        )
    return start, end


def steady(stream: Stream, rate_hz: float, longest_gap_s: float | None = None) -> np.ndarray:
    """A stream's samples `(n, axes)`, float32, at an even rate where its times tell one; else as they follow.

    Args:
        stream: The stream.
        rate_hz: The rate.
        longest_gap_s: As in `Overlap`; times that step back or pause for longer are not relied on.
    """
    if stream.times is None or len(stream.times) < 2 or extent_of(stream.times, longest_gap_s).jumps:
        return stream.values
    return evened(stream, rate_hz)


def evened(stream: Stream, rate_hz: float, span: tuple[float, float] | None = None) -> np.ndarray:
    """A stream at an even rate, by linear interpolation between its samples.

    Samples of one moment are replaced by their mean.

    Args:
        stream: One with times.
        rate_hz: The rate.
        span: The seconds that are wanted; None for all that it has.

    Returns:
        `(n, axes)`, float32.
    """
    assert stream.times is not None
    times, where, counts = np.unique(stream.times, return_inverse=True, return_counts=True)
    values = np.zeros((len(times), stream.values.shape[1]))
    np.add.at(values, where, stream.values)
    values /= counts[:, None]
    if span is None:
        extent = extent_of(times)
        span = extent.start, extent.end
    count = max(2, round((span[1] - span[0]) * rate_hz))
    at = span[0] + centres(count) * (span[1] - span[0])
    return np.stack([np.interp(at, times, axis) for axis in values.T], axis=1).astype(np.float32)


def frames_at(span: tuple[float, float], frames: int, clip: tuple[float, float], parts: int) -> np.ndarray:
    """Which parts of a clip are shown at the centres of equal parts of a span.

    Args:
        span: The seconds that are wanted.
        frames: How many frames.
        clip: When the clip begins and ends.
        parts: Equal parts of the clip.
    """
    at = span[0] + centres(frames) * (span[1] - span[0])
    places = np.floor((at - clip[0]) / (clip[1] - clip[0]) * parts)
    return np.clip(places, 0, parts - 1).astype(np.int64)
