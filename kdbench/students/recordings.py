"""A recording in a file, as an array with its rate where the file says so.

Series: `.csv`, `.txt`, `.tsv` (one column an axis, a time in seconds before them or not), `.npy`, `.mat`. Video: what
PyAV decodes, `.npy`, `.mat`. No pickle is loaded.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.data.readers.kinds import SQUEEZED_SIDE, video_kind
from kdbench.errors import DataError, UsageError
from kdbench.students.schema import SeriesInput, VideoInput
from kdbench.text.wording import counted
from kdbench.util.extras import installing

TEXTS = (".csv", ".txt", ".tsv")
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Recorded:
    """A recording in memory.

    Attributes:
        array: Samples `(n, axes)` or frames `(F, …)`.
        rate_hz: Samples or frames a second; None where nothing says so.
    """

    array: np.ndarray
    rate_hz: float | None = None


def read(path: Path, entry: SeriesInput | VideoInput, *, whole: bool = False) -> Recorded:
    """Reads a file.

    Args:
        path: The file.
        entry: What the student sees.
        whole: Keep all frames of a video file, for a stream; otherwise those that the student is shown.

    Raises:
        DataError: It is missing, of another kind, damaged, or not what the student sees.
    """
    ending = path.suffix.lower()
    readers: Mapping[str, Callable[[bytes, SeriesInput | VideoInput], Recorded]] = {".npy": _array, ".mat": _matlab}
    if isinstance(entry, SeriesInput):
        readers = {**readers, **dict.fromkeys(TEXTS, _text)}
    if ending not in readers and (isinstance(entry, SeriesInput) or not video_kind(entry.kind).is_colour):
        expected = ", ".join(readers)
        raise DataError(
            f"{path}: files of the {entry.source} end in {expected}", hint=f"It should hold {_wanted(entry)}."
        )
    content = _content(path)
    try:
        if ending in readers:
            return readers[ending](content, entry)
        assert isinstance(entry, VideoInput)
        return _film(content, entry, whole=whole)
    except ValueError as error:
        raise DataError(f"{path}: {error}", hint=f"It should hold {_wanted(entry)}.") from error


def _wanted(entry: SeriesInput | VideoInput) -> str:
    if isinstance(entry, VideoInput):
        return video_kind(entry.kind).takes
    axes = ", ".join(entry.axes) if len(entry.axes) <= 6 else counted(len(entry.axes), "axis", "axes")
    return f"the {entry.source}: {axes}, in {entry.unit}, at {entry.rate_hz:g} Hz"


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} holds more than {_MOST_BYTES >> 30} GiB", hint="Cut it into parts.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _array(content: bytes, entry: SeriesInput | VideoInput) -> Recorded:
    import io

    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise ValueError(f"it cannot be read as an array of numbers ({str(error).splitlines()[0]})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds several arrays, and one is expected")
    return Recorded(_columns(array, entry))


def _matlab(content: bytes, entry: SeriesInput | VideoInput) -> Recorded:
    from kdbench.data.readers import mat_file

    if importlib.util.find_spec("scipy") is None:
        raise UsageError(
            "MATLAB files are read by scipy, which is not installed",
            hint=f"Install it: {installing('mat')}; or save the array as .npy.",
        )
    if entry.variable is None:
        raise ValueError("nothing says which array of a MATLAB file is meant: save it as .npy")
    if isinstance(entry, SeriesInput) and entry.kind == "samples":
        return Recorded(_columns(mat_file.read(content, entry.variable, (None, None)), entry))
    # Frames are the last axis there.
    shape = (20, 3, None) if _is_of_joints(entry) else (None, None, None)
    return Recorded(np.moveaxis(mat_file.read(content, entry.variable, shape), -1, 0))


def _is_of_joints(entry: SeriesInput | VideoInput) -> bool:
    return entry.kind in ("joints", "drawn_joints")


def _columns(array: np.ndarray, entry: SeriesInput | VideoInput) -> np.ndarray:
    """The columns of a table that are the axes; a table of the axes alone stays."""
    if isinstance(entry, VideoInput) or entry.columns is None or array.ndim != 2:
        return array
    if array.shape[1] == len(entry.axes) or array.shape[1] <= max(entry.columns):
        return array
    return array[:, entry.columns]


def _text(content: bytes, entry: SeriesInput | VideoInput) -> Recorded:
    from kdbench.data.readers import text_series

    assert isinstance(entry, SeriesInput)
    width, axes = text_series.width(content), len(entry.axes)
    if width == axes:
        return Recorded(text_series.read(content, range(axes)))
    if width != axes + 1:
        raise ValueError(
            f"it has {counted(width, 'column')}, and the {entry.source} has {counted(axes, 'axis', 'axes')} "
            "(and a time before them, or none)"
        )
    samples = text_series.read(content, range(1, axes + 1))
    try:
        seconds = text_series.read(content, [0])[:, 0].astype(np.float64)
    except ValueError:
        # A time of day or a date: the series is whole, and nothing says how fast it is.
        return Recorded(samples)
    steps = np.diff(seconds)
    if len(steps) == 0 or not (steps > 0).all():
        raise ValueError(f"its first column is no time that grows, and the {entry.source} has {axes} axes")
    return Recorded(samples, rate_hz=1 / float(np.median(steps)))


def _film(content: bytes, entry: VideoInput, *, whole: bool) -> Recorded:
    from kdbench.data.readers import video_file
    from kdbench.data.readers.timeline import centre_frames

    side = SQUEEZED_SIDE if entry.kind == "squeezed_colour" else None
    pick: Callable[[int], np.ndarray] = np.arange if whole else lambda count: centre_frames(count, entry.frames)
    decoded = video_file.decode(content, pick, side=side)
    rate = decoded.shows / decoded.seconds if decoded.seconds else None
    return Recorded(decoded.frames, rate)


_NUMBERED = re.compile(r"\d+")


def is_camera(name: str) -> bool:
    """Whether a word names a camera and no file: a number, or a device."""
    return bool(_NUMBERED.fullmatch(name)) or name.startswith("/dev/video")
