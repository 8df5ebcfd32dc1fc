"""Colour video as it comes in: a file frame by frame, or a camera, which may go away."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdbench.data import display
from kdbench.data.readers.kinds import SQUEEZED_SIDE, video_kind
from kdbench.data.readers.video_file import OPENING
from kdbench.errors import DataError, UsageError
from kdbench.students.schema import Input, VideoInput
from kdbench.students.stream import Item
from kdbench.text.wording import counted

PATIENCE_SECONDS = 5.0
"""For how long a camera may say nothing."""
_WAITING = 4
"""Frames that wait for a computer that is slower than the camera; older ones are dropped."""
_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""What a platform's cameras are called by FFmpeg."""


def frames_of_file(path: Path, entry: VideoInput) -> Iterator[Item]:
    """The frames of a video file with the times at which they have been shown, decoded one by one.

    Args:
        path: The file.
        entry: What the student sees.

    Raises:
        DataError: It cannot be decoded.
    """
    import av

    try:
        with av.open(str(path), options={**OPENING, "protocol_whitelist": "file"}, metadata_errors="replace") as film:
            if not film.streams.video:
                raise DataError(f"{path}: it has no video", hint="Name a file that holds a film.")
            yield from _decoded(film, entry)
    except (av.error.FFmpegError, ValueError) as error:
        raise DataError(
            f"{path}: it cannot be decoded ({getattr(error, 'strerror', None) or error})",
            hint="Name a video that plays from its beginning to its end.",
        ) from error


def rate_of_file(path: Path) -> float | None:
    """Frames a second of a video file, as it states them; None where it does not."""
    import av

    try:
        with av.open(str(path), options={**OPENING, "protocol_whitelist": "file"}, metadata_errors="replace") as film:
            rates = [stream.average_rate for stream in film.streams.video if stream.average_rate]
            return float(rates[0]) if rates else None
    except (av.error.FFmpegError, ValueError):
        # Whoever decodes it says what is wrong.
        return None


def _decoded(film: Any, entry: VideoInput) -> Iterator[Item]:
    side = SQUEEZED_SIDE if entry.kind == "squeezed_colour" else None
    stream = film.streams.video[0]
    first: float | None = None
    for number, frame in enumerate(film.decode(stream)):
        seconds = frame.time if frame.time is not None else number / entry.rate_hz
        first = seconds if first is None else first
        yield seconds - first + 1 / entry.rate_hz, display.picture(frame, stream.sample_aspect_ratio, side)


def device_of(name: str) -> str:
    """The device of a camera that is named by its number.

    Args:
        name: Such as `0`, or the device itself.
    """
    if not name.isdigit():
        return name
    return f"/dev/video{name}" if sys.platform == "linux" else f"video={name}" if sys.platform == "win32" else name


class Camera:
    """A camera of this machine, read by a thread of its own.

    Args:
        name: Its number, or its device.
        entry: What the student sees.
        format: FFmpeg's name of such devices; by default this platform's.
        patience: For how many seconds it may say nothing.

    Raises:
        UsageError: The student takes no colour video.
        DataError: It cannot be opened.
    """

    def __init__(
        self,
        name: str,
        entry: Input,
        *,
        format: str | None = None,  # noqa: A002
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        import av

        if not isinstance(entry, VideoInput) or not video_kind(entry.kind).is_colour:
            raise UsageError(
                f"a camera gives colour frames, and this student takes the {entry.source}"
                + (f" ({video_kind(entry.kind).takes})" if isinstance(entry, VideoInput) else ""),
                hint="Give it a recording: --input FILE",
            )
        self.name, self._entry, self._patience = name, entry, patience
        device = device_of(name)
        try:
            self._film = av.open(device, format=format or _FORMATS.get(sys.platform, "v4l2"))
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise DataError(
                f"the camera {name} cannot be opened: {getattr(error, 'strerror', None) or error}",
                hint="See what is there: ls /dev/video*"
                if sys.platform == "linux"
                else "Is it used by another program?",
            ) from error
        self._waiting: queue.Queue[Item | None] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name="camera")
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        """Frames with the seconds since the first one, as they arrive.

        Raises:
            DataError: The camera went away, or says nothing.
        """
        count = 0
        try:
            while True:
                try:
                    item = self._waiting.get(timeout=self._patience)
                except queue.Empty:
                    what = f"gave no frame for {self._patience:g} s, after {counted(count, 'frame')}"
                    raise self._gone(what) from None
                if item is None:
                    raise self._gone(f"went away after {counted(count, 'frame')}")
                count += 1
                yield item
        finally:
            self._closed.set()

    def _gone(self, what: str) -> DataError:
        return DataError(f"the camera {self.name} {what}", hint="Plug it in again, and repeat the command.")

    def _read(self) -> None:
        import av

        began = time.monotonic()
        try:
            with self._film as film:
                for _, picture in _decoded(film, self._entry):
                    if self._closed.is_set():
                        return
                    self._put((time.monotonic() - began, picture))
        except (av.error.FFmpegError, ValueError, OSError, IndexError):
            pass
        finally:
            self._put(None)

    def _put(self, item: Item | None) -> None:
        """Puts an item where it waits; the oldest makes room."""
        while True:
            try:
                return self._waiting.put_nowait(item)
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                except queue.Empty:
                    continue
