"""Depth frames of one segmented person: where the person is, and depth as 8 bits."""

from __future__ import annotations

import numpy as np

from kdbench.data.readers.timeline import centre_frames

FARTHEST_MM = 2**16 - 1
"""The largest depth that a depth camera writes."""
MARGIN = 0.05
"""Border around the person, as a share of the box's side."""
FARTHEST = 40
"""Grey value of the farthest part of the person; the nearest has 255, the background 0."""
PERCENTILES = (1, 99)
"""Of the covered pixels: the near and the far end of the person."""

Extent = tuple[int, int, int, int]
"""First and last row, first and last column."""


def clip_of(frames: np.ndarray, count: int) -> np.ndarray:
    """Some frames of a segmented person, cropped and scaled by the box and the range of the whole trial.

    Args:
        frames: Every frame of the trial `(F, rows, columns)`, millimetres, 0 where there is no person.
        count: How many frames to take, at the centres of equal parts.

    Returns:
        `(count, side, side)`, uint8.

    Raises:
        ValueError: There is no person.
    """
    top, left, side = person_box(frames > 0)
    person = crop(frames, top, left, side)
    near, far = range_of(person)
    return to_grey(person[centre_frames(len(person), count)], near, far)


def person_box(mask: np.ndarray) -> tuple[int, int, int]:
    """The square around everything that the person covers during a trial.

    One square serves all frames, so that moving through the image stays visible as movement. Specks, which segmentation
    leaves for single frames, would widen the union over a whole trial: a pixel counts only where it belongs to a solid
    3×3 block of its own frame.

    Args:
        mask: Where the person is `(F, rows, columns)`, bool.

    Returns:
        Top row, left column and side of the square in pixels, margin included. It may reach beyond the image.

    Raises:
        ValueError: There is no person.
    """
    found = extent(mask)
    if found is None:
        raise ValueError("no person in any frame")
    return square_around(found)


def extent(mask: np.ndarray) -> Extent | None:
    """First and last row and column `(top, bottom, left, right)` of the solid blocks of frames; None without any.

    Args:
        mask: As for `person_box`.
    """
    inner = mask[:, :-2] & mask[:, 1:-1] & mask[:, 2:]
    inner = inner[:, :, :-2] & inner[:, :, 1:-1] & inner[:, :, 2:]
    covered = inner.any(axis=0)
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if len(rows) == 0:
        return None
    # The block's far edge lies two pixels on.
    return int(rows[0]), int(rows[-1]) + 2, int(columns[0]), int(columns[-1]) + 2


def square_around(found: Extent) -> tuple[int, int, int]:
    """Top row, left column and side of the square around an extent, margin included."""
    top, bottom, left, right = found
    height, width = bottom + 1 - top, right + 1 - left
    side = round(max(height, width) * (1 + 2 * MARGIN))
    return top + (height - side) // 2, left + (width - side) // 2, side


def crop(frames: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Cuts a square from frames `(F, rows, columns)`; what lies beyond the image is 0."""
    result = np.zeros((len(frames), side, side), frames.dtype)
    y0, x0 = max(top, 0), max(left, 0)
    inside = frames[:, y0 : max(top + side, 0), x0 : max(left + side, 0)]
    result[:, y0 - top : y0 - top + inside.shape[1], x0 - left : x0 - left + inside.shape[2]] = inside
    return result


def range_of(depth: np.ndarray) -> tuple[float, float]:
    """Near and far end of the person: the 1st and 99th percentile of all covered pixels of a trial.

    The extremes themselves are flying pixels at the silhouette's edge, up to a metre off.

    Args:
        depth: Millimetres, 0 where there is no person.
    """
    near, far = np.percentile(depth[depth > 0], PERCENTILES)
    return float(near), float(far)


def to_grey(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Depth in millimetres to uint8: near is 255, far is `FARTHEST`, no person is 0."""
    share = (far - np.clip(depth, near, far).astype(np.float32)) / max(far - near, 1.0)
    grey = np.rint(FARTHEST + (255 - FARTHEST) * share).astype(np.uint8)
    return np.where(depth > 0, grey, np.uint8(0))
