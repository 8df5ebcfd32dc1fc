"""Colour video as it comes in: a file frame by frame, or a camera, which may go away."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data import display
from kdbench.data.readers.kinds import SQUEEZED_SIDE, video_kind
from kdbench.data.readers.video_file import OPENING
from kdbench.errors import DataError, UsageError
from kdbench.students.incoming import Feed, Item, Taken
from kdbench.students.schema import Input, VideoInput
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
                raise DataError(f"{path}: it has no video", hint=f"Give it {video_kind(entry.kind).takes}.")
            yield from _decoded(film, entry)
    except (av.error.FFmpegError, ValueError) as error:
        raise DataError(
            f"{path}: it cannot be decoded ({getattr(error, 'strerror', None) or error})",
            hint="Is it whole? Copy it again, or see whether a player shows it to its end.",
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
    stream = film.streams.video[0]
    first: float | None = None
    for number, frame in enumerate(film.decode(stream)):
        seconds = frame.time if frame.time is not None else number / entry.rate_hz
        first = seconds if first is None else first
        yield seconds - first + 1 / entry.rate_hz, _picture(frame, stream, entry)


def _picture(frame: Any, stream: Any, entry: VideoInput) -> np.ndarray:
    side = SQUEEZED_SIDE if entry.kind == "squeezed_colour" else None
    return display.picture(frame, stream.sample_aspect_ratio, side)


def device_of(name: str) -> str:
    """The device of a camera that is named by its number.

    Args:
        name: Such as `0`, or the device itself.
    """
    if not name.isdigit():
        return name
    return f"/dev/video{name}" if sys.platform == "linux" else f"video={name}" if sys.platform == "win32" else name


class Camera(Feed):
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
        self._waiting: queue.Queue[Taken | None] = queue.Queue(_WAITING)
        self._count = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name="camera")
        self._thread.start()

    def take(self) -> Taken:
        """The next frame, with the seconds since the first one, as soon as it arrives.

        Raises:
            DataError: The camera went away, or says nothing.
        """
        try:
            taken = self._waiting.get(timeout=self._patience)
        except queue.Empty:
            self.close()
            what = f"gave no frame for {self._patience:g} s, after {counted(self._count, 'frame')}"
            raise self._gone(what) from None
        if taken is None:
            self.close()
            raise self._gone(f"went away after {counted(self._count, 'frame')}")
        self._count += 1
        return taken

    def close(self) -> None:
        """Lets the camera go, once its next frame is there."""
        self._closed.set()

    def _gone(self, what: str) -> DataError:
        return DataError(f"the camera {self.name} {what}", hint="Plug it in again, and repeat the command.")

    def _read(self) -> None:
        import av

        began = time.monotonic()
        try:
            with self._film as film:
                stream = film.streams.video[0]
                # Packets are what is waited for; what is made of them is work.
                for packet in film.demux(stream):
                    start = time.perf_counter()
                    for frame in packet.decode():
                        picture = _picture(frame, stream, self._entry)
                        if self._closed.is_set():
                            return
                        now = time.perf_counter()
                        self._put(Taken(time.monotonic() - began, picture, now - start))
                        start = now
        except (av.error.FFmpegError, ValueError, OSError, IndexError):
            pass
        finally:
            self._put(None)

    def _put(self, taken: Taken | None) -> None:
        """Puts a frame where it waits; the oldest makes room."""
        while True:
            try:
                return self._waiting.put_nowait(taken)
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                    self.dropped += 1
                except queue.Empty:
                    continue
