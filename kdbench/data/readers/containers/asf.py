"""ASF, WMV: a header, packets of one size that hold pieces of numbered media objects, and indices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kdbench.data.readers.containers import SOME_MORE, damaged

HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_LIVE = 1


def walk(content: bytes) -> int | None:
    """See `containers`; a broadcast does not say how long it will be."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(content[at : at + length], "little")

    start = number(16, 8)
    stated = content.find(_FILE, 0, start)
    if stated < 0 or start + 50 > len(content):
        return SOME_MORE
    if content[start : start + 16] != _DATA:
        raise damaged(start, "no packets begin there")
    size, count, end = number(stated + 40, 8), number(start + 40, 8), start + number(start + 16, 8)
    least, most = number(stated + 92, 4), number(stated + 96, 4)
    first, live = start + 50, number(stated + 88, 4) & _LIVE
    if not live and max(size, end) > len(content):
        return max(size, end)
    if least != most or not least:
        return None  # all writers have packets of one size; the standard once had others in mind
    if live:
        count = (len(content) - first) // least
    elif first + count * least > end:
        raise damaged(start + 40, f"{count:,} packets of {least:,} bytes do not fit the stated size")
    reached: dict[int, _Piece] = {}
    for at in range(first, first + count * least, least):
        if live and not content[at] & 0x80:
            break  # behind the packets of a broadcast, there may be indices
        try:
            for piece in _pieces(content[at : at + least]):
                _follow(reached, piece)
        except (IndexError, ValueError) as error:
            raise damaged(at, str(error) if isinstance(error, ValueError) else "a packet is too short") from None
    return SOME_MORE if any(last.unfinished for last in reached.values()) else None


class _Piece(NamedTuple):
    """A piece of a media object, usually of a frame; more than one object where they are very small.

    Attributes:
        stream: Number of the stream.
        number: Number of its last object in the stream.
        numbers: How many numbers there are before they start anew.
        objects: How many objects it has.
        start: Where in its object it starts, in bytes.
        end: Where it ends.
        size: How long the object is.
    """

    stream: int
    number: int
    numbers: int
    objects: int
    start: int
    end: int
    size: int

    @property
    def unfinished(self) -> bool:
        return self.end < self.size


def _follow(reached: dict[int, _Piece], piece: _Piece) -> None:
    """Holds a piece against the one before it in its stream.

    Raises:
        ValueError: Something is missing between them.
    """
    last = reached.get(piece.stream)
    if piece.end > piece.size:
        raise ValueError("a frame is longer than it should be")
    # A recording may begin amid an object.
    if last is not None:
        more = (last.number, last.end, last.size) == (piece.number, piece.start, piece.size) and last.unfinished
        anew = piece.start == 0 and (piece.number - last.number - piece.objects) % piece.numbers == 0
        if not more and (last.unfinished or not anew):
            raise ValueError("a part of a frame is missing there or before")
    reached[piece.stream] = piece


def _pieces(packet: bytes) -> Iterator[_Piece]:
    """The pieces that a packet holds.

    Raises:
        IndexError: It is too short for them.
        ValueError: It cannot be as it is.
    """
    at = 0

    def number(kind: int) -> int:
        """The number at this place, of a width that two bits tell."""
        nonlocal at
        width = (0, 1, 2, 4)[kind & 3]
        at += width
        if at > len(packet):
            raise IndexError
        return int.from_bytes(packet[at - width : at], "little")

    if packet[0] & 0x80:
        if packet[0] & 0x70 or packet[1 : 1 + (packet[0] & 15)].strip(b"\0"):
            raise ValueError("no packet begins there")
        at = 1 + (packet[0] & 15)
    lengths, properties = number(1), number(1)
    if lengths & 0x80 or properties >> 6 != 1:
        raise ValueError("no packet begins there")
    stated = number(lengths >> 5)
    number(lengths >> 1)
    padding = number(lengths >> 3)
    at += 6
    end = (stated or len(packet)) - padding
    if not at <= end <= len(packet):
        raise ValueError("a packet has an impossible length")
    payloads = number(1) if lengths & 1 else None
    for _ in range(1 if payloads is None else payloads & 63):
        stream = number(1) & 0x7F
        object_number, start, repeated = number(properties >> 4), number(properties >> 2), number(properties)
        body = at
        at += repeated
        length = end - at if payloads is None else number(payloads >> 6)
        numbers = 1 << 8 * (0, 1, 2, 4)[properties >> 4 & 3]
        if at + length > end:
            raise ValueError("a packet is shorter than what it holds")
        if repeated == 1:
            # Small whole objects, each behind its length.
            count, stop = 0, at + length
            while at < stop:
                at += 1 + packet[at]
                count += 1
            yield _Piece(stream, (object_number + count - 1) % numbers, numbers, count, 0, 0, 0)
        elif repeated >= 8:
            size = int.from_bytes(packet[body : body + 4], "little")
            yield _Piece(stream, object_number, numbers, 1, start, start + length, size)
            at += length
        else:
            at += length
