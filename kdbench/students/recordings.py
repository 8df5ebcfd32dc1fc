"""A recording in a file, as an array with its rate where the file says so.

Series: `.csv`, `.txt`, `.tsv`, `.npy`, `.mat`. Video: what PyAV decodes, `.npy`, `.mat`. No pickle is loaded.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.data.readers.kinds import SQUEEZED_SIDE, video_kind
from kdbench.data.recorded import TEXT
from kdbench.errors import DataError, UsageError
from kdbench.students import series_file
from kdbench.students.fit import is_transposed
from kdbench.students.schema import SeriesInput, VideoInput
from kdbench.students.series_file import AS_EXPORTED, Columns
from kdbench.text.wording import counted
from kdbench.util import numpy_files
from kdbench.util.extras import installing

_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Recorded:
    """A recording in memory.

    Attributes:
        array: Samples `(n, axes)` or frames `(F, …)`.
        rate_hz: Samples or frames a second as recorded; None where nothing says so.
        evened: Whether it has been brought to the student's rate by its times.
        film_seconds: How long a video file lasts, of which the array holds some frames; None of all else.
    """

    array: np.ndarray
    rate_hz: float | None = None
    evened: bool = False
    film_seconds: float | None = None


def read(
    path: Path, entry: SeriesInput | VideoInput, *, whole: bool = False, columns: Columns = AS_EXPORTED
) -> Recorded:
    """Reads a file.

    Args:
        path: The file.
        entry: What the student sees.
        whole: Keep all frames of a video file, for a stream; otherwise those that the student is shown.
        columns: What is said of the columns of a text file, beside what the export says.

    Raises:
        UsageError: Something is said of columns that has no effect on the file.
        DataError: It is missing, of another kind, damaged, or not what the student sees.
    """
    check_form(path, entry)
    ending = path.suffix.lower()
    readers: dict[str, Callable[[bytes, SeriesInput | VideoInput], Recorded]] = {".npy": _array, ".mat": _matlab}
    if isinstance(entry, SeriesInput):
        described = [".npy"] if series_file.is_described(entry, ".npy") else []
        series = functools.partial(_series, ending=ending, columns=columns)
        readers |= dict.fromkeys([*TEXT, *described], series)
    if columns != AS_EXPORTED and ending not in TEXT:
        raise UsageError(
            f"{path}: columns, times and factors are said of text files alone ({', '.join(TEXT)})",
            hint="Leave them out.",
        )
    if path.is_dir():
        raise DataError(
            f"{path} is a folder, and a recording is a file", hint=f"Name the files in it, for example {path}/*"
        )
    if ending not in readers and (isinstance(entry, SeriesInput) or not video_kind(entry.kind).is_colour):
        expected = ", ".join(readers)
        raise DataError(
            f"{path}: files of the {entry.source} end in {expected}", hint=f"It should hold {wanted(entry)}."
        )
    content = _content(path)
    try:
        if ending in readers:
            return readers[ending](content, entry)
        assert isinstance(entry, VideoInput)
        return _film(content, entry, whole=whole)
    except series_file.FileError as error:
        raise DataError(f"{path}: {error}", hint=error.hint) from error
    except ValueError as error:
        raise DataError(f"{path}: {error}", hint=f"It should hold {wanted(entry)}.") from error


def check_form(path: Path, entry: SeriesInput | VideoInput) -> None:
    """Refuses a table in the place of a video, by the ending of its name.

    Raises:
        DataError: It is one.
    """
    if isinstance(entry, VideoInput) and path.suffix.lower() in TEXT:
        raise DataError(
            f"this student sees video; {path} is a table",
            hint=f"Give it {wanted(entry)}; or take a student of sensors.",
        )


def wanted(entry: SeriesInput | VideoInput) -> str:
    """What a recording of an input is, in words."""
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
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}", hint="Name a recording that is there."
        ) from error


def _array(content: bytes, entry: SeriesInput | VideoInput) -> Recorded:
    try:
        array = numpy_files.load(content)
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
    if array.shape[1] == len(entry.axes) or array.shape[1] <= max(entry.columns) or is_transposed(entry, array):
        return array
    return array[:, entry.columns]


def _series(content: bytes, entry: SeriesInput | VideoInput, *, ending: str, columns: Columns) -> Recorded:
    assert isinstance(entry, SeriesInput)
    found = series_file.read(content, ending, entry, columns)
    return Recorded(found.samples, found.rate_hz, found.evened)


def _film(content: bytes, entry: VideoInput, *, whole: bool) -> Recorded:
    from kdbench.data.readers import video_file
    from kdbench.data.readers.timeline import centre_frames

    side = SQUEEZED_SIDE if entry.kind == "squeezed_colour" else None
    pick: Callable[[int], np.ndarray] = np.arange if whole else lambda count: centre_frames(count, entry.frames)
    decoded = video_file.decode(content, pick, side=side)
    rate = decoded.shows / decoded.seconds if decoded.seconds else None
    return Recorded(decoded.frames, rate, film_seconds=None if whole else decoded.seconds)


_NUMBERED = re.compile(r"\d+")


def is_camera(name: str) -> bool:
    """Whether a word names a camera and no file: a number, or a device."""
    return bool(_NUMBERED.fullmatch(name)) or name.startswith("/dev/video")
