"""Relative time, in which sensors and video are aligned: 0 is the start of a trial, 1 its end.

Each stream covers the whole trial at a rate of its own: sample k of n lies at (k + 1/2)/n. The streams of a trial are
never matched by sample or frame numbers.
"""

from __future__ import annotations

import numpy as np


def centres(count: int) -> np.ndarray:
    """Relative times `(count,)` of equally spaced samples, float64."""
    return (np.arange(count) + 0.5) / count


def centre_frames(count: int, frames: int) -> np.ndarray:
    """Indices `(frames,)` of the frames at the centres of equal parts of a clip of `count` frames."""
    return (centres(frames) * count).astype(np.int64)


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
