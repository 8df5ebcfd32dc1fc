"""Video files through PyAV: the frames at the centres of equal parts of a clip."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np


def decode(content: bytes, pick: Callable[[int], np.ndarray]) -> tuple[np.ndarray, int]:
    """Decodes a video file and returns some of its frames.

    Args:
        content: The whole file.
        pick: Maps the number of frames to the indices of the wanted ones.

    Returns:
        Frames `(T, rows, columns, 3)`, uint8, RGB; and how many the file has.

    Raises:
        ValueError: It is no video, holds no frames, or ends before the number of frames that its header states.
    """
    import av

    try:
        with av.open(io.BytesIO(content)) as container:
            if not container.streams.video:
                raise ValueError("the file has no video stream")
            stream = container.streams.video[0]
            stated = stream.frames
            # Frames stay in the coded colour space, half the size, until it is known which ones are wanted.
            frames = list(container.decode(stream))
    except av.error.FFmpegError as error:
        raise ValueError(f"it cannot be decoded ({error})") from error
    if not frames:
        raise ValueError("it has no frames")
    if len(frames) < stated:
        raise ValueError(f"it is cut off after {len(frames)} of {stated} frames")
    return np.stack([frames[i].to_ndarray(format="rgb24") for i in pick(len(frames))]), len(frames)


def centre_square(frames: np.ndarray) -> np.ndarray:
    """The largest square around the centre of frames `(T, rows, columns, 3)`."""
    rows, columns = frames.shape[1:3]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return frames[:, top : top + side, left : left + side]
