"""IVF, YUV4MPEG, GIF: frames one behind the other."""

from __future__ import annotations

from kdbench.data.readers.containers import SOME_MORE, damaged

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B


def walk_ivf(content: bytes) -> int | None:
    """See `containers`; frames of stated sizes."""
    at = 32
    while at + 12 <= len(content):
        at += 12 + int.from_bytes(content[at : at + 4], "little")
    return max(at, len(content) + 1) if at != len(content) else None


def walk_yuv4mpeg(content: bytes) -> int | None:
    """See `containers`; a line, then frames of one size, each behind a line."""
    at = content.find(b"\n") + 1
    second = content.find(b"FRAME", at + 6)
    if not at or second < 0:
        return None  # one frame, of which nothing tells how long it is
    size = second - at
    for frame in range(at, len(content), size):
        if not b"FRAME".startswith(content[frame : frame + 5]):
            raise damaged(frame, "no frame begins there")
    return len(content) + size - rest if (rest := (len(content) - at) % size) else None


def walk_gif(content: bytes) -> int | None:
    """See `containers`; blocks of stated sizes, behind whose trailer there may be anything."""
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while at < len(content) and content[at] != _TRAILER:
        if content[at] == _IMAGE:
            flags = content[at + 9] if at + 9 < len(content) else 0
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif content[at] == _EXTENSION:
            at += 2
        else:
            raise damaged(at, "no block begins there")
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    return at if at > len(content) else SOME_MORE if at == len(content) else None
