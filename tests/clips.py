"""Clips that the tests encode themselves, of frames that tell their numbers by their brightness."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np

SIDE = 64
QUICK = {
    "libx264": {"preset": "ultrafast", "g": "30", "bf": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=30"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "g": "30"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "g": "30"},
    "mjpeg": {"qmin": "1", "qmax": "1"},
    **{
        codec: {"g": "30", "qmin": "1", "qmax": "2", "sc_threshold": "1000000000"}
        for codec in ("mpeg4", "mpeg1video", "mpeg2video", "wmv2", "flv", "msmpeg4v2")
    },
}
"""Options under which encoders are quick enough for tests, and make a key frame a second."""


def grey(number: int) -> np.ndarray:
    """Frame `number`: as bright as twice its number."""
    return np.full((SIDE, SIDE, 3), 2 * number, np.uint8)


def clip(
    frames: int | Iterable[int] = 120,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    rate: int = 30,
    picture: Callable[[int], np.ndarray] = grey,
    pixels: str | None = None,
    prepare: Callable[[Any], None] = lambda _: None,
    convert: Callable[[Any], Any] = lambda frame: frame,
    coding: dict[str, str] | None = None,
    first: int = 0,
    **muxing: str,
) -> bytes:
    """Encodes a clip.

    Args:
        frames: How many frames, or the numbers of those that are there: number k is shown at k/rate seconds.
        container: FFmpeg's name of the container.
        codec: FFmpeg's name of the encoder.
        rate: Frames in a second.
        picture: The picture of each number.
        pixels: Pixel format.
        prepare: Changes the stream before it is written.
        convert: Changes each frame before it is encoded.
        coding: Options of the encoder beside the quick ones.
        first: By how many frames the clock is ahead.
        muxing: Options of the container.
    """
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=container, options=muxing) as file:
        stream = file.add_stream(codec, rate=rate, options=QUICK.get(codec, {}) | (coding or {}))
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt = pixels or {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        prepare(stream)
        for number in range(frames) if isinstance(frames, int) else frames:
            frame = convert(av.VideoFrame.from_ndarray(picture(number), format="rgb24"))
            frame.pts, frame.time_base = number + first, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


def copied(content: bytes, container: str, change: Callable[[Any, int], bool] = lambda *_: True) -> bytes:
    """Copies the packets of a clip into another container, as they are.

    Args:
        content: The clip.
        container: FFmpeg's name of the new one.
        change: Changes a packet, which has a number; False leaves it out.
    """
    import av

    out = io.BytesIO()
    with av.open(io.BytesIO(content)) as old, av.open(out, "w", format=container) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(old.streams.video[0])):
            if packet.size and change(packet, number):
                packet.stream = stream
                new.mux(packet)
    return out.getvalue()


def trimmed(content: bytes, seconds: float) -> bytes:
    """Lets a clip start later without coding it anew: what lies before stays in the file and is not shown."""
    import av

    with av.open(io.BytesIO(content)) as file:
        tick = file.streams.video[0].time_base
    offset, key = int(seconds / tick), int(int(seconds) / tick)

    def later(packet: Any, number: int) -> bool:
        if packet.pts < key:
            return False
        packet.pts -= offset
        packet.dts -= offset
        return True

    return copied(content, "mp4", later)


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers of frames, by their brightness."""
    return [round(float(frame.mean()) / 2) for frame in frames]
