"""Ogg: pages with checksums, the last one of each stream marked."""

from __future__ import annotations

import zlib

from kdbench.data.readers.containers import SOME_MORE, check_nothing_follows, damaged

_MARK = b"OggS"
_HEAD = 27
_LAST = 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def walk(content: bytes) -> int | None:
    """See `containers`."""
    at, open_streams = 0, set()
    while content[at : at + 4] == _MARK:
        if at + _HEAD > len(content):
            return at + _HEAD
        segments = content[at + 26]
        serial = content[at + 14 : at + 18]
        end = at + _HEAD + segments + sum(content[at + _HEAD : at + _HEAD + segments])
        if at + _HEAD + segments > len(content) or end > len(content):
            return max(end, at + _HEAD + segments)
        _check(content[at:end], at)
        open_streams.add(serial)
        if content[at + 5] & _LAST:
            open_streams.discard(serial)
        at = end
    check_nothing_follows(content, at, _MARK)
    return SOME_MORE if open_streams else None


def _check(page: bytes, at: int) -> None:
    """Compares a page's checksum: of the kind of zlib's, but with the bits of each byte in the other order."""
    bare = page[:22] + bytes(4) + page[26:]
    checksum = zlib.crc32(bare.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    if checksum.to_bytes(4, "little").translate(_REVERSED) != page[22:26][::-1]:
        raise damaged(at, "the checksum of a page differs")
