"""MP4, MOV, 3GP: boxes one behind the other."""

from __future__ import annotations

from kdbench.data.readers.containers import SOME_MORE, check_nothing_follows

BOXES = (
    *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"emsg", b"prft"),
    *(b"free", b"skip", b"wide", b"uuid", b"udta", b"meta", b"pnot", b"PICT"),
)
_MEDIA = (b"moov", b"moof", b"mdat")


def walk(content: bytes) -> int | None:
    """See `containers`; boxes of kinds that are not known here are legal where their sizes lead on to others."""
    at, last = 0, b""
    while at + 8 <= len(content):
        size, kind, head = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16]), 16
        if size == 0 and kind in BOXES:
            return None  # the last box, which has all of the rest
        if size < head or (kind not in BOXES and at + size > len(content)):
            check_nothing_follows(content, at, *_MEDIA)
            return SOME_MORE if last == b"moof" else None
        if at + size > len(content):
            return at + size
        at, last = at + size, kind
    # Nothing whole ends with the beginning of another box, or with the directory of a part that is not there.
    return at + 8 if content[at:].strip(b"\0\r\n ") else SOME_MORE if last == b"moof" else None
