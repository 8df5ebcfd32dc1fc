"""AVI: one RIFF chunk, or several, that hold chunks."""

from __future__ import annotations

from kdbench.data.readers.containers import check_nothing_follows, damaged

_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
_HEAD = 8


def walk(content: bytes) -> int | None:
    """See `containers`; frames that are not where the index says are found by who reads it.

    The chunks of frames are not walked: some writers leave bytes between them, and the index leads past those.
    """
    at = 0
    while content[at : at + 4] == b"RIFF":
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if size in _UNKNOWN_SIZES:
            return None  # a recording that was never finished, or sent while it was made: nothing tells its length
        end, inner = at + _HEAD + size, at + 12
        while inner + _HEAD <= min(end, len(content)):
            inner += _HEAD + int.from_bytes(content[inner + 4 : inner + 8], "little")
            if inner > len(content):
                return inner
            # Some writers count the chunk's own head.
            if inner > end + _HEAD:
                raise damaged(inner, "a chunk is longer than the one that it lies in")
            inner += inner % 2
        if end > len(content) + _HEAD:
            return end
        at = end + end % 2
    check_nothing_follows(content, at, b"AVIX", b"movi")
    return None
