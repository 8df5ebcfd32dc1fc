"""Frames of another size."""

from __future__ import annotations

import numpy as np


def resized(frames: np.ndarray, size: int) -> np.ndarray:
    """Resizes frames `(T, side, side, channels)` to `(channels, T, size, size)`, uint8.

    Pillow's bilinear filter widens with the scale, so it averages areas when it shrinks and interpolates when it grows.
    """
    from PIL import Image

    count, _, _, channels = frames.shape
    result = np.empty((channels, count, size, size), np.uint8)
    for channel in range(channels):
        for frame in range(count):
            plane = Image.fromarray(np.ascontiguousarray(frames[frame, :, :, channel]))
            result[channel, frame] = np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR))
    return result
