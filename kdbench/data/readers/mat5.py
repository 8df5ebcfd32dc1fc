"""The variables of a MATLAB file of versions 5 to 7, looked at before they are read.

scipy reads such files, and on some damaged ones it ends the process: a type that does not exist is looked up in a table
all the same. So what a variable consists of is checked here first, and scipy is given that variable alone.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number of each type."""
_CLASSES = (
    *("unknown", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16"),
    *("int32", "uint32", "int64", "uint64", "function", "object", "object"),
)
_SPARSE = _CLASSES.index("sparse")
_NUMBERS = range(_CLASSES.index("double"), _CLASSES.index("uint64") + 1)
_LOGICAL, _COMPLEX = 0x0200, 0x0800
_HEAD = 128
_NAMES = 4096
"""Bytes of a variable in which its name ends."""


@dataclass(frozen=True)
class Variable:
    """What a file says of a variable.

    Attributes:
        name: Its name.
        kind: MATLAB's class, or `logical`.
        shape: Its shape.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    _element: bytes
    _order: str
    _start: bytes

    def alone(self, most: int) -> bytes:
        """A file that holds this variable alone, not compressed; of numbers.

        Args:
            most: The most bytes that it may have.

        Raises:
            ValueError: It is damaged or larger.
        """
        whole = self._element
        if struct.unpack_from(f"{self._order}I", whole)[0] == _COMPRESSED:
            unpacking = zlib.decompressobj()
            whole = unpacking.decompress(whole[8:], most)
            # The checksum stands at the end.
            if not unpacking.eof:
                raise ValueError("a variable is larger than is read, or cut off")
        kind, _, inner, end = _element(whole, 0, self._order)
        if kind != _MATRIX or end != len(whole):
            raise ValueError("a variable is not an array")
        flags, after = _flags(whole, inner, self._order)
        for _ in range(2):
            *_, after = _element(whole, after, self._order)
        parts = 1 + bool(flags & _COMPLEX)
        for _ in range(parts + 2 * (flags & 0xFF == _SPARSE)):
            kind, size, _, after = _element(whole, after, self._order)
            if kind not in _BYTES or size % _BYTES[kind]:
                raise ValueError(f"its numbers are of no known type ({kind})")
        return self._start + whole


def variables(content: bytes) -> list[Variable]:
    """All variables of a file, in its order.

    Raises:
        ValueError: It is damaged, or no such file.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("unknown kind of file")
    listed = []
    at = _HEAD
    while at < len(content):
        kind, _, inner, end = _element(content, at, order)
        if kind == _COMPRESSED:
            head = zlib.decompressobj().decompress(content[inner:end], _NAMES)
        elif kind == _MATRIX:
            head = content[at : min(end, at + _NAMES)]
        else:
            raise ValueError(f"an element is of no known type ({kind})")
        name, kind_name, shape = _described(head, order)
        # MATLAB keeps what belongs to objects under no name.
        if name:
            listed.append(Variable(name, kind_name, shape, content[at:end], order, content[:_HEAD]))
        at = end
    return listed


def _described(head: bytes, order: str) -> tuple[str, str, tuple[int, ...]]:
    flags, after = _flags(head, 8, order)
    number = flags & 0xFF
    kind = _CLASSES[number] if number < len(_CLASSES) else "unknown"
    if flags & _LOGICAL:
        kind = "logical"
    shape: tuple[int, ...] = ()
    if number < _CLASSES.index("function"):
        dimensions, size, inner, after = _element(head, after, order)
        if dimensions != _INT32 or size % 4 or not 8 <= size <= 128:
            raise ValueError("the shape of a variable is damaged")
        shape = struct.unpack_from(f"{order}{size // 4}i", head, inner)
    text, size, inner, _ = _element(head, after, order)
    if text != _INT8:
        raise ValueError("the name of a variable is damaged")
    return head[inner : inner + size].decode("latin-1"), kind, shape


def _flags(content: bytes, at: int, order: str) -> tuple[int, int]:
    """A variable's flags, with its class in the lowest byte; and where the next element begins."""
    kind, size, inner, after = _element(content, at, order)
    if kind != _UINT32 or size != 8:
        raise ValueError("the class of a variable is damaged")
    return struct.unpack_from(f"{order}I", content, inner)[0], after


def _element(content: bytes, at: int, order: str) -> tuple[int, int, int, int]:
    """Type and size of an element, where its content begins, and where the next element does."""
    if at + 8 > len(content):
        raise ValueError(f"it is cut off: {len(content):,} of at least {at + 8:,} bytes are there")
    kind, size = struct.unpack_from(f"{order}II", content, at)
    if kind >> 16:
        # Up to four bytes stand in the place of their size.
        return kind & 0xFFFF, min(kind >> 16, 4), at + 4, at + 8
    end = at + 8 + size
    if end > len(content):
        raise ValueError(f"it is cut off: {len(content):,} of at least {end:,} bytes are there")
    # All but compressed variables fill up to eight bytes.
    return kind, size, at + 8, end if kind == _COMPRESSED else min(end + -size % 8, len(content))
