"""Video files through PyAV: the frames at the centres of equal parts of a clip."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from kdbench.wording import counted


def decode(content: bytes, pick: Callable[[int], np.ndarray], *, side: int | None = None) -> tuple[np.ndarray, int]:
    """Decodes a video file and returns some of its frames.

    Of a file whose header states the number of frames, only the wanted ones are held in memory.

    Args:
        content: The whole file.
        pick: Maps the number of frames to the indices of the wanted ones.
        side: Squeeze the frames to a square of this side, pixels; None keeps their size.

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
            wanted = set(pick(stated).tolist()) if stated else None
            # Frames stay in the coded colour space, half the size, until it is known which ones are wanted.
            frames, count = {}, 0
            for frame in container.decode(stream):
                if wanted is None or count in wanted:
                    frames[count] = frame
                count += 1
    except av.error.FFmpegError as error:
        raise ValueError(f"it cannot be decoded ({error})") from error
    if not count:
        raise ValueError("it has no frames")
    if count < stated:
        raise ValueError(f"it is cut off after {count} of {counted(stated, 'frame')}")
    chosen = pick(stated or count).tolist()
    size = {} if side is None else {"width": side, "height": side}
    made = {index: frames[index].to_ndarray(format="rgb24", **size) for index in set(chosen)}
    return np.stack([made[index] for index in chosen]), count


def centre_square(frames: np.ndarray) -> np.ndarray:
    """The largest square around the centre of frames `(T, rows, columns, 3)`."""
    rows, columns = frames.shape[1:3]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return frames[:, top : top + side, left : left + side]
