"""Matroska, WebM: nested elements; live recordings leave the sizes of the outer ones open."""

from __future__ import annotations

import zlib

from kdbench.data.readers.containers import SOME_MORE, check_nothing_follows, damaged

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_CRC, _VOID = 0xBF, 0xEC
_SEEK_HEAD, _INFO, _TRACKS, _CUES = 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B
_ATTACHMENTS, _CHAPTERS, _TAGS = 0x1941A469, 0x1043A770, 0x1254C367
_TRACK, _TRACK_NUMBER = 0xAE, 0xD7
_GROUP, _BLOCK, _SIMPLE_BLOCK = 0xA0, 0xA1, 0xA3
_CUE, _CUE_PLACE, _CUE_CLUSTER = 0xBB, 0xB7, 0xF1
_OUTER = {_SEEK_HEAD, _INFO, _TRACKS, _CLUSTER, _CUES, _ATTACHMENTS, _CHAPTERS, _TAGS}
_ALLOWED = {
    _SEGMENT: _OUTER | {_CRC, _VOID},
    # Time, silent tracks, position, size of the one before, encrypted blocks.
    _CLUSTER: {_SIMPLE_BLOCK, _GROUP, 0xE7, 0x5854, 0xA7, 0xAB, 0xAF, _CRC, _VOID},
    # What the standard has of a block beside its content, or had once.
    _GROUP: {_BLOCK, 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8, _CRC, _VOID},
}
"""What may lie in the elements that hold frames: players pass over what they do not know, and lose a frame so."""
_ENTERED = {
    _SEGMENT: _OUTER - {_ATTACHMENTS, _CHAPTERS, _TAGS},
    _CLUSTER: {_GROUP},
    _TRACKS: {_TRACK},
    _CUES: {_CUE},
    _CUE: {_CUE_PLACE},
}


def walk(content: bytes) -> int | None:
    """See `containers`."""
    try:
        _Elements(content).check()
    except _CutOffError as error:
        return error.end
    return None


class _CutOffError(Exception):
    """The file ends before an element does."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class _Elements:
    """The elements of a file.

    Args:
        content: The file.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._segment = 0
        self._end = SOME_MORE
        self._tracks: set[int] = set()
        self._clusters: set[int] = set()
        self._cues: list[int] = []

    def check(self) -> None:
        """Walks all elements.

        Raises:
            ValueError: One is damaged.
            _CutOffError: One is not all there.
        """
        at = 0
        while at < len(self._content):
            identifier, value = _number(self._content, at, marked=True)
            if identifier not in (_EBML, _SEGMENT, _VOID):
                check_nothing_follows(self._content, at, _CLUSTER.to_bytes(4))
                break
            size, data = self._size(value)
            if identifier == _SEGMENT:
                self._segment, self._end = data, SOME_MORE if size is None else data + size
                at = self._walk(_SEGMENT, data, None if size is None else data + size)
                if at > len(self._content):
                    raise _CutOffError(at)
            else:
                at = self._inside(data, size, None)
        # A directory that fits nothing is not of this file.
        lost = [place for place in self._cues if place not in self._clusters]
        if lost and 2 * len(lost) < len(self._cues):
            raise damaged(lost[0], "frames are not where the directory says")

    def _walk(self, parent: int, at: int, end: int | None) -> int:
        """Walks what lies in an element from a place to its end, None where that is open; returns its end."""
        start = at
        while at < (len(self._content) if end is None else min(end, len(self._content))):
            identifier, value = _number(self._content, at, marked=True)
            # An element of open size ends where one begins that belongs further out.
            if end is None and (identifier == _EBML or (parent == _CLUSTER and identifier in _OUTER | {_SEGMENT})):
                return at
            if identifier is None and not self._content[at:].strip(b"\0") and end in (None, self._end):
                raise _CutOffError(self._end)
            if identifier is None or identifier not in _ALLOWED.get(parent, {identifier}):
                if value > len(self._content) and self._content[at]:
                    raise _CutOffError(self._end)
                raise damaged(at, "no element begins there")
            size, data = self._size(value)
            if identifier == _CRC and (at, size) != (start, 4):
                raise damaged(at, "a checksum is not where one may be")
            if identifier == _CLUSTER:
                self._clusters.add(at)
            if size is None and identifier == _CLUSTER:
                at = self._walk(_CLUSTER, data, None)
                continue
            inner = self._inside(data, size, end)
            if identifier in _ENTERED.get(parent, ()):
                self._check_sum(data, inner)
                self._walk(identifier, data, inner)
            else:
                self._note(parent, identifier, data, inner)
            at = inner
        return at if end is None else end

    def _size(self, at: int) -> tuple[int | None, int]:
        size, data = _number(self._content, at, marked=False)
        if data > len(self._content):
            if at < len(self._content) and not self._content[at]:
                raise damaged(at, "an element has no size")
            raise _CutOffError(self._end)
        return size, data

    def _inside(self, data: int, size: int | None, end: int | None) -> int:
        """Where an element ends that starts its content at `data` and lies in another one."""
        if size is None or (end is not None and data + size > end):
            raise damaged(data, "an element is longer than the one that it lies in")
        if data + size > len(self._content):
            raise _CutOffError(max(data + size, self._end))
        return data + size

    def _check_sum(self, data: int, end: int) -> None:
        """Compares the checksum with which some elements begin."""
        if self._content[data : data + 2] != bytes((_CRC, 0x84)):
            return
        stated = int.from_bytes(self._content[data + 2 : data + 6], "little")
        if zlib.crc32(self._content[data + 6 : end]) != stated:
            raise ValueError(f"it is damaged between its bytes {data + 6:,} and {end:,}: their checksum differs")

    def _note(self, parent: int, identifier: int, data: int, end: int) -> None:
        """Remembers the tracks and the places in the directory; compares the tracks of blocks."""
        if (parent, identifier) == (_TRACK, _TRACK_NUMBER):
            self._tracks.add(int.from_bytes(self._content[data:end]))
        elif (parent, identifier) == (_CUE_PLACE, _CUE_CLUSTER):
            self._cues.append(self._segment + int.from_bytes(self._content[data:end]))
        elif identifier in (_BLOCK, _SIMPLE_BLOCK) and parent in (_CLUSTER, _GROUP):
            track, _ = _number(self._content, data, marked=False)
            if self._tracks and track not in self._tracks:
                raise damaged(data, "a block is of a track that is not there")


def _number(content: bytes, at: int, *, marked: bool) -> tuple[int | None, int]:
    """A number of variable length and where it ends.

    Args:
        content: The file.
        at: Where the number starts.
        marked: Whether it is an element's kind, which keeps the bit that tells its length; at most four bytes.

    Returns:
        None where it is not there, is none, or, of a size, where it says that it is open.
    """
    first = content[at] if at < len(content) else 0
    length = 9 - first.bit_length()
    if not first or at + length > len(content):
        return None, len(content) + 1
    if marked:
        return (int.from_bytes(content[at : at + length]) if length <= 4 else None), at + length
    value = int.from_bytes(content[at : at + length]) & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length
