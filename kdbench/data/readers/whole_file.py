"""Whether a video file is all there, by the sizes and checksums that its container states; never by counts of frames.

A demuxer stops at the end of what it is given, whole or not. Each container says somewhere how long its pieces are: a
piece that reaches beyond the end of the file tells that the rest is missing, and one that does not end where the next
begins, that there is damage in between.
"""

from __future__ import annotations

from collections.abc import Callable

from kdbench.data.readers.containers import SOME_MORE, asf, avi, flv, matroska, mp4, mpeg, ogg, plain

_WALKS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], int | None]], ...] = (
    (mp4.begins, mp4.walk),
    (matroska.begins, matroska.walk),
    (avi.begins, avi.walk),
    (ogg.begins, ogg.walk),
    (asf.begins, asf.walk),
    (mpeg.begins_program, mpeg.walk_program),
    (flv.begins, flv.walk),
    (plain.begins_ivf, plain.walk_ivf),
    (plain.begins_yuv4mpeg, plain.walk_yuv4mpeg),
    (plain.begins_gif, plain.walk_gif),
    (mpeg.begins_transport, mpeg.walk_transport),
)


def missing(content: bytes) -> str | None:
    """What a file lacks by its own account: `5,000 of at least 9,000 bytes are there`; None where nothing is known to.

    Raises:
        ValueError: It is damaged.
    """
    end = next((walk(content) for begins, walk in _WALKS if begins(content)), None)
    if end is None:
        return None
    if end == SOME_MORE:
        return f"the {len(content):,} bytes that are there lack the last piece"
    return f"{len(content):,} of at least {end:,} bytes are there"
