"""Whether a video file is all there, by the sizes and checksums that its container states; never by counts of frames.

A demuxer stops at the end of what it is given, whole or not. Each container says somewhere how long its pieces are: a
piece that reaches beyond the end of the file tells that the rest is missing, and one that does not end where the next
begins, that there is damage in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kdbench.data.readers.containers import SOME_MORE, asf, avi, flv, matroska, mp4, mpeg, ogg, plain

_WALKS: tuple[tuple[bytes, Callable[[bytes], int | None]], ...] = (
    (rb".{4}(?:" + b"|".join(mp4.BOXES) + rb")", mp4.walk),
    (rb"\x1a\x45\xdf\xa3", matroska.walk),
    (rb"RIFF.{4}AVI ", avi.walk),
    (rb"OggS", ogg.walk),
    (re.escape(asf.HEADER), asf.walk),
    (rb"\x00\x00\x01\xba", mpeg.walk_program),
    (rb"FLV", flv.walk),
    (rb"DKIF", plain.walk_ivf),
    (rb"YUV4MPEG2 ", plain.walk_yuv4mpeg),
    (rb"GIF.{11}", plain.walk_gif),
    (rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G|G.{203}G.{203}G", mpeg.walk_transport),
)
"""How a file begins that a function walks; the first pattern that fits counts."""


def missing(content: bytes) -> str | None:
    """What a file lacks by its own account: `5,000 of at least 9,000 bytes are there`; None where nothing is known to.

    Raises:
        ValueError: It is damaged.
    """
    end = next((walk(content) for pattern, walk in _WALKS if re.match(pattern, content, re.DOTALL)), None)
    if end is None:
        return None
    if end == SOME_MORE:
        return f"the {len(content):,} bytes that are there lack the last piece"
    return f"{len(content):,} of at least {end:,} bytes are there"
