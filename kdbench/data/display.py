"""A decoded frame as a player shows it: upright, with square pixels, as RGB."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

WIDEST = 4
"""Pixels that are stated to be longer than this, across or upright, are taken for damage."""


def picture(frame: Any, aspect: Fraction | None, side: int | None = None) -> np.ndarray:
    """The picture of a frame.

    The rotation and the flips that the file asks for are done, and pixels that are not square are stretched, along
    their longer side. Colours follow the range and the matrix that the file states. Fields of interlaced video stay
    woven; transparency is ignored.

    Args:
        frame: A decoded frame of PyAV.
        aspect: Width of a pixel, with its height as the unit; None where it is not stated.
        side: Squeeze the picture to a square of this side, pixels; None keeps its size.

    Returns:
        `(rows, columns, 3)`, uint8, RGB.

    Raises:
        ValueError: The file asks for something that is not a multiple of 90 degrees, or pixels have an impossible form.
    """
    width, height = frame.width, frame.height
    if side is not None:
        width = height = side
    elif aspect and aspect != 1:
        if not Fraction(1, WIDEST) <= aspect <= WIDEST:
            raise ValueError(f"its pixels are {float(aspect):g} times as wide as high")
        width, height = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(_turned(pixels, _matrix(frame)))


def squeezed(frames: np.ndarray, side: int) -> np.ndarray:
    """Frames `(F, rows, columns, 3)`, uint8, RGB, squeezed to squares `(F, side, side, 3)` as those of a file are.

    A file's colours are converted and squeezed in one step, so that values may differ from these by one or two of 255.
    """
    import av

    films = (av.VideoFrame.from_ndarray(np.ascontiguousarray(each), format="rgb24") for each in frames)
    return np.stack([picture(frame, None, side) for frame in films])


def _matrix(frame: Any) -> np.ndarray | None:
    """Where the display matrix takes the directions right and down, `(2, 2)`; None where there is none."""
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return None
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].astype(np.float64)


def _turned(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    if matrix is None or not matrix.any():
        return pixels
    right, down = matrix / np.linalg.norm(matrix, axis=1, keepdims=True).clip(1)
    directions = np.rint([right, down])
    if np.abs(directions - [right, down]).max() > 0.02 or abs(np.linalg.det(directions)) != 1:
        raise ValueError("it is to be shown turned by an angle that is not a multiple of 90 degrees")
    if directions[0, 0] == 0:
        # What was right points up or down: rows become columns.
        pixels = pixels.transpose(1, 0, 2)
        horizontal, vertical = directions[1, 0], directions[0, 1]
    else:
        horizontal, vertical = directions[0, 0], directions[1, 1]
    return pixels[:: int(vertical), :: int(horizontal)]
