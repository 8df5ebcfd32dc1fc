"""Whether a video file is all there, by the sizes and checksums that its container states; never by counts of frames.

A demuxer stops at the end of what it is given, whole or not. Each container says somewhere how long its pieces are: a
piece that reaches beyond the end of the file tells that the rest is missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

_BOXES = (
    *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"emsg", b"prft"),
    *(b"free", b"skip", b"wide", b"uuid", b"udta", b"meta", b"pnot", b"PICT"),
)
_EBML_HEADER, _SEGMENT, _CLUSTER, _CRC = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xBF
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_LIVE = 1
_OGG_LAST = 4
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)


def missing(content: bytes) -> str | None:
    """What a file lacks by its own account: `5,000 of at least 9,000 bytes are there`; None where nothing is known to.

    Raises:
        ValueError: A checksum differs.
    """
    end = next((walk(content) for begins, walk in _WALKS if begins(content)), None)
    if end is None:
        return None
    if end == _SOME_MORE:
        return f"the {len(content):,} bytes that are there lack the last piece"
    return f"{len(content):,} of at least {end:,} bytes are there"


_SOME_MORE = -1


def _boxes(content: bytes) -> int | None:
    """MP4, MOV, 3GP: boxes one behind the other."""
    at, last = 0, b""
    while at + 8 <= len(content):
        size, last, head = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16]), 16
        if last not in _BOXES or size < head:
            return None
        if at + size > len(content):
            return at + size
        at += size
    # Nothing whole ends with the beginning of another box, or with the directory of a part that is not there.
    return at + 8 if content[at:].strip(b"\0\r\n ") else _SOME_MORE if last == b"moof" else None


def _elements(content: bytes) -> int | None:
    """Matroska, WebM: nested elements; live recordings leave the sizes of the outer ones open."""
    at, end = 0, None
    while at < len(content):
        identifier, value = _number(content, at, marked=True)
        size, data = _number(content, value, marked=False)
        if identifier is None or data > len(content):
            return end if end else _SOME_MORE
        if identifier in (_SEGMENT, _CLUSTER) and (size is None or identifier == _SEGMENT):
            end = data + size if identifier == _SEGMENT and size is not None else end
            if end is not None and end > len(content):
                return end
            at = data
            continue
        if size is None:
            return None
        if data + size > len(content):
            return data + size
        if content[data : data + 2] == bytes((_CRC, 0x84)) and size > 6:
            stated = int.from_bytes(content[data + 2 : data + 6], "little")
            if zlib.crc32(content[data + 6 : data + size]) != stated:
                raise ValueError(
                    f"it is damaged between its bytes {data + 6:,} and {data + size:,}: their checksum differs"
                )
        at = data + size
        if end is not None and at >= end:
            return None
    return None


def _number(content: bytes, at: int, *, marked: bool) -> tuple[int | None, int]:
    """A number of variable length and where it ends; None where it is not there or says that it is not known."""
    first = content[at] if at < len(content) else 0
    if not first:
        return None, len(content) + 1
    length = 9 - first.bit_length()
    value = int.from_bytes(content[at : at + length])
    if marked:
        return value, at + length
    value &= (1 << 7 * length) - 1
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def _chunks(content: bytes) -> int | None:
    """AVI: one RIFF chunk, or several, that hold chunks."""
    at = 0
    while content[at : at + 4] == b"RIFF":
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if size in _UNKNOWN_SIZES:
            return None
        end, inner = at + 8 + size, at + 12
        while inner + 8 <= min(end, len(content)):
            inner += 8 + int.from_bytes(content[inner + 4 : inner + 8], "little")
            if inner > len(content):
                return inner
            inner += inner % 2
        # Some writers count the chunk's own head.
        if end > len(content) + 8:
            return end
        at = end + end % 2
    return None


def _pages(content: bytes) -> int | None:
    """Ogg: pages, the last one of each stream marked."""
    at, open_streams = 0, set()
    while content[at : at + 4] == b"OggS" and at + 27 <= len(content):
        segments = content[at + 26]
        serial = content[at + 14 : at + 18]
        end = at + 27 + segments + sum(content[at + 27 : at + 27 + segments])
        if at + 27 + segments > len(content) or end > len(content):
            return max(end, at + 27 + segments)
        _check_page(content[at:end])
        open_streams.add(serial)
        if content[at + 5] & _OGG_LAST:
            open_streams.discard(serial)
        at = end
    return _SOME_MORE if open_streams else None


def _check_page(page: bytes) -> None:
    """Compares a page's checksum: of the kind of zlib's, but with the bits of each byte in the other order."""
    bare = page[:22] + bytes(4) + page[26:]
    found = zlib.crc32(bare.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    if found.to_bytes(4, "little").translate(_REVERSED) != page[22:26][::-1]:
        raise ValueError("it is damaged: the checksum of a page differs")


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _asf(content: bytes) -> int | None:
    """ASF, WMV: the size of the file stands in its header, unless it was broadcast."""
    at = content.find(_ASF_FILE, 0, 4096)
    if at < 0 or at + 104 > len(content):
        return _SOME_MORE
    if content[at + 88] & _ASF_LIVE:
        return None
    size = int.from_bytes(content[at + 40 : at + 48], "little")
    return size if size > len(content) else None


def _transport(content: bytes) -> int | None:
    """MPEG transport streams: packets of one size."""
    start, size = next((s, n) for s, n in _TRANSPORT if all(content[s + n * k] == 0x47 for k in range(3)))
    counters: dict[int, int] = {}
    for at in range(start, len(content) - 3, size):
        if content[at] != 0x47:
            raise ValueError(f"it is damaged at its byte {at:,}: no packet begins there")
        stream = int.from_bytes(content[at + 1 : at + 3]) & 0x1FFF
        flags, counter = content[at + 3], content[at + 3] & 15
        adaptation = content[at + 5] if flags & 0x20 and at + 5 < len(content) and content[at + 4] else 0
        before = counters.get(stream)
        # Counters start anew where a recording begins: with a table, or with a picture that needs no other.
        body = at + 4 + (1 + content[at + 4] if flags & 0x20 else 0)
        table = content[body : body + 3] != b"\0\0\1"
        anew = adaptation & 0x80 or (content[at + 1] & 0x40 and (table or adaptation & 0x40))
        if not flags & 0x10 or stream == 0x1FFF:
            continue
        if not (before is None or anew or counter in (before, (before + 1) & 15)):
            raise ValueError(f"it is damaged before its byte {at:,}: packets are missing")
        counters[stream] = counter
    rest = len(content) % size
    return len(content) - rest + size if rest > start and content[-rest + start] == 0x47 else None


_TRANSPORT = ((0, 188), (4, 192), (0, 204))


def _is_transport(content: bytes) -> bool:
    return any(len(content) > s + 2 * n and all(content[s + n * k] == 0x47 for k in range(3)) for s, n in _TRANSPORT)


def _program(content: bytes) -> int | None:
    """MPEG program streams: packets of stated sizes."""
    at = 0
    while at + 4 <= len(content):
        if content[at : at + 3] != b"\0\0\1" or content[at + 3] < 0xB9 or content[at + 3] == 0xB9:
            return None
        if at + 14 > len(content):
            return at + 14
        if content[at + 3] == 0xBA:
            at += 14 + (content[at + 13] & 7) if content[at + 4] >> 6 == 1 else 12
        else:
            at += 6 + int.from_bytes(content[at + 4 : at + 6])
        if at > len(content):
            return at
    return None


def _flash(content: bytes) -> int | None:
    """FLV: tags of stated sizes, each followed by its own size."""
    at = int.from_bytes(content[5:9]) + 4
    while at + 11 <= len(content):
        if content[at] & 0x1F not in (8, 9, 18):
            return None
        at += 11 + int.from_bytes(content[at + 1 : at + 4]) + 4
    if at < len(content):
        return at + 11
    # The size behind the last tag is not needed.
    return at if at > len(content) + 4 else None


def _ivf(content: bytes) -> int | None:
    """IVF: frames of stated sizes."""
    at = 32
    while at + 12 <= len(content):
        at += 12 + int.from_bytes(content[at : at + 4], "little")
    return max(at, len(content) + 1) if at != len(content) else None


def _raw(content: bytes) -> int | None:
    """YUV4MPEG: a line, then frames of one size, each behind a line."""
    at = content.find(b"\n") + 1
    second = content.find(b"FRAME", at + 6)
    if not at or second < 0:
        return None
    size = second - at
    return len(content) + size - rest if (rest := (len(content) - at) % size) else None


def _gif(content: bytes) -> int | None:
    """GIF: blocks of stated sizes."""
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while at < len(content) and content[at] != 0x3B:
        if content[at] == 0x2C:
            flags = content[at + 9] if at + 9 < len(content) else 0
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif content[at] == 0x21:
            at += 2
        else:
            return None
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    return at if at > len(content) else None


_WALKS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], int | None]], ...] = (
    (lambda content: content[4:8] in _BOXES, _boxes),
    (lambda content: content[:4] == _EBML_HEADER.to_bytes(4), _elements),
    (lambda content: content[:4] == b"RIFF" and content[8:12] == b"AVI ", _chunks),
    (lambda content: content[:4] == b"OggS", _pages),
    (lambda content: content[:16] == _ASF_HEADER, _asf),
    (lambda content: content[:4] == b"\0\0\1\xba", _program),
    (lambda content: content[:3] == b"FLV", _flash),
    (lambda content: content[:4] == b"DKIF", _ivf),
    (lambda content: content[:10] == b"YUV4MPEG2 ", _raw),
    (lambda content: content[:3] == b"GIF" and len(content) > 13, _gif),
    (_is_transport, _transport),
)
