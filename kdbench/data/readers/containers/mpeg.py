"""MPEG: transport streams, of packets of one size, and program streams, of packets of stated sizes."""

from __future__ import annotations

from kdbench.data.readers.containers import check_nothing_follows, damaged

_TRANSPORT = ((0, 188), (4, 192), (0, 204))
_PACK, _END = 0xBA, 0xB9


def walk_transport(content: bytes) -> int | None:
    """See `containers`; packets of one size."""
    start, size = next((s, n) for s, n in _TRANSPORT if all(content[s + n * k] == 0x47 for k in range(3)))
    counters: dict[int, int] = {}
    for at in range(start, len(content) - 3, size):
        if content[at] != 0x47:
            raise damaged(at, "no packet begins there")
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
            raise damaged(at, "packets are missing before")
        counters[stream] = counter
    rest = len(content) % size
    return len(content) - rest + size if rest > start and content[-rest + start] == 0x47 else None


def walk_program(content: bytes) -> int | None:
    """See `containers`; there may be zeros between packets, as on discs, and one stream behind another's end."""
    at = 0
    while at + 4 <= len(content):
        if content[at : at + 3] != b"\0\0\1" or content[at + 3] < _END:
            mark = content.find(b"\0\0\1", at)
            if mark > at and content[mark + 3 : mark + 4] >= bytes((_END,)) and not any(content[at:mark]):
                at = mark
                continue
            check_nothing_follows(content, at, b"\0\0\1\xba")
            return None
        if content[at + 3] == _END:
            at += 4
            continue
        if at + 14 > len(content):
            return at + 14
        if content[at + 3] == _PACK:
            at += 14 + (content[at + 13] & 7) if content[at + 4] >> 6 == 1 else 12
        else:
            at += 6 + int.from_bytes(content[at + 4 : at + 6])
        if at > len(content):
            return at
    return None
