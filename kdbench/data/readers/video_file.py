"""Video files through PyAV: the frames at the centres of equal parts of a clip, as a player shows them.

What counts is what the file shows: the times of its frames where it has any, and the frames that come out of the
decoder. The number of frames in its header is not relied on. A file that lacks bytes, or that its decoder finds
damaged, is refused.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from kdbench.data import display
from kdbench.data.readers import whole_file
from kdbench.data.readers.timeline import Showing
from kdbench.data.readers.video_clock import Clock
from kdbench.text.wording import counted

FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "ogg", "asf", "flv", "gif", "yuv4mpegpipe", "nut"),
    *("ivf", "h264", "hevc", "m4v", "mjpeg"),
)
"""Containers that are read, by FFmpeg's names: recordings alone, none that opens other files or the network."""
_MAX_PIXELS = 2**26
OPENING = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "none",
    "max_pixels": str(_MAX_PIXELS),
}
# Without `explode`, a decoder fills what it cannot decode from the neighbourhood, and says nothing.
_DECODING = {"err_detect": "crccheck+explode", "max_pixels": str(_MAX_PIXELS)}
_EVIDENCE = re.compile(
    r"(CRC|checksum|packet) mismatch|error while decoding|ignoring overflow|concealing|no checks"
    r"|is invalid \(|invalid as first byte of an EBML|no checksum|LZW decode failed",
    re.IGNORECASE,
)
"""What FFmpeg logs of damage that it passes over without an error."""
_ODD = (MemoryError, OverflowError, UnicodeError, ValueError)
"""What else PyAV raises on damaged files."""
_NO_TIMES = frozenset({"h264", "hevc", "m4v", "mjpeg", "mpegvideo"})
"""Streams without a container: FFmpeg makes up a rate."""
_PICTURE_EACH = frozenset(
    {"h264", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "mjpeg"}
)
"""Decoders that make a picture of each packet, unless it says that nothing has changed."""
_UNCHANGED_BYTES = 24


class DecodedVideo(NamedTuple):
    """Frames of a video file.

    Attributes:
        frames: The wanted ones `(T, rows, columns, 3)`, uint8, RGB.
        shows: How many the file shows.
        seconds: For how long it shows them; None where it has no times.
    """

    frames: np.ndarray
    shows: int
    seconds: float | None


def decode(content: bytes, pick: Callable[[int], np.ndarray], *, side: int | None = None) -> DecodedVideo:
    """Decodes a video file and returns some of its frames.

    Only the wanted frames are held in memory.

    Args:
        content: The whole file.
        pick: Maps a number of equal parts of the clip's duration to the indices of the wanted ones; of each, the frame
            is taken that is shown when it begins. Where all frames are shown equally long, there are as many parts as
            frames.
        side: Squeeze the frames to a square of this side, pixels; None keeps their size.

    Raises:
        ValueError: It is no video, shows no frames, is cut off or damaged, or its frames differ in size.
    """
    import av

    try:
        return _decode(content, pick, side)
    except av.error.FFmpegError as error:
        raise ValueError(f"it cannot be decoded ({error.strerror})") from error


def seconds_of(content: bytes) -> float | None:
    """For how long a video file shows its frames, by the times of its packets; None where it has no times.

    Args:
        content: The whole file.

    Raises:
        ValueError: It is no video, or is cut off.
    """
    with _logged() as log, _opened(content, whole_file.missing(content), log) as film:
        return film.clock.seconds(film.expected())


def centre_square(frames: np.ndarray) -> np.ndarray:
    """The largest square around the centre of frames `(T, rows, columns, 3)`."""
    rows, columns = frames.shape[1:3]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return frames[:, top : top + side, left : left + side]


def _decode(content: bytes, pick: Callable[[int], np.ndarray], side: int | None) -> DecodedVideo:
    missing = whole_file.missing(content)
    wanted: set[int] | None = None
    while True:
        with _logged() as log, _opened(content, missing, log) as film:
            if wanted is None:
                expected = film.expected()
                wanted = set(expected.frames(pick(expected.parts)).tolist())
            seen, kept = film.watch(wanted)
            shown = film.clock.showing(seen)
            chosen = shown.frames(pick(shown.parts)).tolist()
            if set(chosen) <= kept.keys():
                break
            # The decoder showed other frames than the packets promised: once more, knowing which ones.
            wanted = set(chosen)
    pictures = {index: display.picture(kept[index], film.aspect, side) for index in set(chosen)}
    sizes = {picture.shape[:2] for picture in pictures.values()}
    if len(sizes) > 1:
        listed = " and ".join(f"{columns}×{rows}" for rows, columns in sorted(sizes))
        raise ValueError(f"its frames differ in size ({listed} pixels)")
    return DecodedVideo(np.stack([pictures[index] for index in chosen]), len(seen), film.clock.seconds(shown))


@contextlib.contextmanager
def _logged() -> Iterator[list[Any]]:
    """What FFmpeg logs in this thread inside the block: level, part and message of each error."""
    import av

    before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    # A message that another file caused already would be passed over.
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as log:
            yield log
    finally:
        av.logging.set_level(before[0])
        av.logging.set_skip_repeated(before[1])


@contextlib.contextmanager
def _opened(content: bytes, missing: str | None, log: list[Any]) -> Iterator[_Film]:
    """Opens a file.

    Args:
        content: The file.
        missing: What is known to be missing of it.
        log: Where FFmpeg's messages arrive.
    """
    import av

    try:
        container = av.open(io.BytesIO(content), options=OPENING, metadata_errors="replace")
    except (av.error.FFmpegError, *_ODD) as error:
        if missing is not None:
            raise ValueError(f"it is cut off: {missing}") from error
        if isinstance(error, av.error.ArgumentError):
            reason = f"it is of no kind that is read: {', '.join(FORMATS)}"
        else:
            reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"it cannot be decoded ({reason})") from error
    with container:
        try:
            film = _Film(container, log)
        except ValueError as error:
            if missing is None:
                raise
            raise ValueError(f"it is cut off: {missing}") from error
        if missing is not None:
            raise ValueError(film.cut_off(missing))
        yield film


@dataclass(frozen=True)
class _Seen:
    """What is known of the time of a decoded frame, in ticks."""

    pts: int | None
    dts: int | None
    duration: int


class _Film:
    """The video of an opened file, with all its packets.

    Args:
        container: The opened file.
        log: Where FFmpeg's messages arrive.

    Raises:
        ValueError: There is no video that can be decoded.
    """

    def __init__(self, container: Any, log: list[Any]) -> None:
        import av
        from av.stream import Disposition

        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        packets: dict[int, list[Any]] = {stream.index: [] for stream in streams}
        self._torn: str | None = None
        # What decoders say of a file's first frames while it is opened, they say again.
        kind = container.format.name
        opening = [text.strip() for _, part, text in log if part == kind and _EVIDENCE.search(text)]
        self._log, self._read = log, len(log)
        try:
            for packet in container.demux():
                # An empty packet would tell the decoder that no more are coming.
                if packet.size and packet.stream_index in packets:
                    packets[packet.stream_index].append(packet)
        except av.error.FFmpegError as error:
            self._torn = error.strerror
        except IndexError:  # PyAV, behind the last packet, where streams began in mid-file
            pass
        self._torn = self._torn or next(iter(opening), None) or self._evidence()
        if not any(packets.values()):
            raise ValueError("it has no frames" if streams else "the file has no video stream")

        def rank(stream: Any) -> tuple[bool, bool, int]:
            return len(packets[stream.index]) < 2, not stream.disposition & Disposition.default, stream.index

        self._stream = min((s for s in streams if packets[s.index]), key=rank)
        try:
            # Decoders that share a frame among threads tell of damage in a log, and raise no error.
            self._stream.thread_type = "NONE"
            self._stream.codec_context.thread_count = 1
            self._stream.codec_context.options = _DECODING
            self._stream.codec_context.open()
        except (AttributeError, av.error.FFmpegError) as error:
            raise ValueError("it cannot be decoded (its kind of video is unknown here)") from error
        self._stated = self._stream.frames
        self.aspect: Fraction | None = self._stream.sample_aspect_ratio
        tick = self._stream.time_base or Fraction(1)
        self.clock = Clock(tick, kind == "avi", kind in ("mpegts", "mpeg"), kind in _NO_TIMES)
        self._packets = packets[self._stream.index]
        first = next((number for number, packet in enumerate(self._packets) if packet.is_keyframe), 0)
        # What comes before the first whole picture cannot be shown.
        self._packets = self._packets[first:]

    def expected(self) -> Showing:
        """What the packets promise to show."""
        return self.clock.showing([packet for packet in self._in_order() if not packet.is_discard])

    def watch(self, wanted: set[int]) -> tuple[list[_Seen], dict[int, Any]]:
        """Decodes the whole film.

        Args:
            wanted: Indices of the frames to keep.

        Returns:
            All frames' times, and the kept frames by their indices.

        Raises:
            ValueError: It is damaged or cut off.
        """
        self._check_index()
        seen: list[_Seen] = []
        kept: dict[int, Any] = {}
        fields = False
        for frame in self._frames():
            fields = fields or frame.interlaced_frame
            if len(seen) in wanted:
                kept[len(seen)] = frame
            seen.append(_Seen(frame.pts, frame.dts, frame.duration))
        if not seen:
            raise ValueError("it has no frames")
        # Two packets may hold the two fields of one picture.
        if self._stream.codec_context.name in _PICTURE_EACH and not fields:
            self._check_none_is_lost(seen)
        return seen, kept

    def cut_off(self, missing: str) -> str:
        """How far a film goes that is known to be cut off."""
        count = 0
        with contextlib.suppress(ValueError):
            for _ in self._frames():
                count += 1
        frames = f"{count} of {self._stated} frames" if self._stated > count else counted(count, "frame")
        return f"it is cut off after {frames}: {missing}"

    def _check_index(self) -> None:
        """Looks for frames that are not where the index of an AVI file says: the demuxer passes over their remains."""
        if not self.clock.by_order:
            return
        places = {packet.pos for packet in self._packets}
        # A place is that of the frame or of the eight bytes before it.
        listed = [entry.pos for entry in getattr(self._stream, "index_entries", ()) if entry.size > _UNCHANGED_BYTES]
        lost = [at for at in listed if at not in places and at + 8 not in places and at >= min(places) - 8]
        # An index that fits nothing is not of this file.
        if lost and 2 * len(lost) < len(listed):
            raise ValueError(f"it is damaged: {counted(len(lost), 'frame')} of {len(listed)} cannot be found")

    def _check_none_is_lost(self, seen: Sequence[_Seen]) -> None:
        """Looks for packets that the decoder passed over without an error."""
        due = [packet for packet in self._packets if packet.size > _UNCHANGED_BYTES and not packet.is_discard]
        times, first = {frame.pts for frame in seen}, seen[0].pts
        if first is None or self.clock.by_order or any(packet.pts is None for packet in due):
            lost = due[-1:] if len(due) > len(seen) else []
        else:
            # Before the first picture that can be shown, some cannot.
            due = [packet for packet in due if packet.pts > first]
            lost = [packet for packet in due if packet.pts not in times] if len(due) >= len(seen) else []
        if lost and self.clock.by_order:
            count = counted(len(due) - len(seen), "frame")
            raise ValueError(f"it is damaged: {count} of {len(due)} cannot be decoded")
        if lost:
            raise ValueError(self._damage(lost[0], "it cannot be decoded"))

    def _in_order(self) -> list[Any]:
        """The packets in the order in which their frames are shown."""
        times = [packet.dts if self.clock.by_order else packet.pts for packet in self._packets]
        if None in times:
            return self._packets
        return [packet for _, _, packet in sorted(zip(times, range(len(times)), self._packets, strict=True))]

    def _frames(self) -> Iterator[Any]:
        """Every frame that is shown, in order."""
        import av

        start = self._packets[0].pts
        for number, packet in enumerate((*self._packets, None)):
            at = packet or self._packets[-1]
            if packet is None and self._torn is not None:
                raise ValueError(self._damage(at, self._torn))
            # Where one recording ends and the next begins, the demuxer misses what would lie between.
            if packet is not None and packet.is_corrupt and not self.clock.starts_anew(self._packets[number:][:3]):
                raise ValueError(self._damage(at, "bytes are missing"))
            try:
                frames = self._stream.codec_context.decode(packet)
            except av.error.FFmpegError as error:
                if packet is not None and None not in (start, packet.pts) and packet.pts < start:
                    # It is shown before the first whole picture, and made from one before that.
                    continue
                raise ValueError(self._damage(at, error.strerror)) from error
            if (evidence := self._evidence()) is not None:
                raise ValueError(self._damage(at, evidence))
            for frame in frames:
                if frame.is_corrupt:
                    raise ValueError(self._damage(at, "the decoder fills gaps"))
                yield frame

    def _evidence(self) -> str | None:
        """The first message of damage since the last call; None without one."""
        new, self._read = self._log[self._read :], len(self._log)
        return next((text.strip() for _, _, text in new if _EVIDENCE.search(text)), None)

    def _damage(self, packet: Any, reason: str) -> str:
        order = self._in_order()
        number = order.index(packet)
        times = self.clock.times(order)
        begins, now = times[0], times[number]
        at = f" ({float((now - begins) * self.clock.tick):.2f} s)" if begins is not None and now is not None else ""
        if packet is self._packets[-1]:
            return f"it is cut off or damaged in its last frame, {number}{at}: {reason}"
        return f"it is damaged at frame {number}{at}: {reason}"
