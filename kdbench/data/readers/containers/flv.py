"""FLV: tags of stated sizes, each followed by its own size."""

from __future__ import annotations

from kdbench.data.readers.containers import damaged

_HEAD = 11
_JUMP_MS = 1000
_AUDIO, _VIDEO, _SCRIPT = 8, 9, 18


def walk(content: bytes) -> int | None:
    """See `containers`."""
    at = int.from_bytes(content[5:9]) + 4
    all_before, times = 0, []
    while at + _HEAD <= len(content):
        if content[at] & 0x1F not in (_AUDIO, _VIDEO, _SCRIPT) or content[at] & 0xC0 or any(content[at + 8 : at + 11]):
            raise damaged(at, "no tag begins there")
        size = int.from_bytes(content[at + 1 : at + 4])
        end = at + _HEAD + size
        if end > len(content):
            return end
        all_before += size
        if content[at] & 0x1F == _VIDEO:
            times.append((content[at + 7] << 24) + int.from_bytes(content[at + 4 : at + 7]))
            _check_time(times[-3:], at)
        # Writers do not agree on what the size includes; FFmpeg takes these.
        stated = int.from_bytes(content[end : end + 4])
        if end + 4 <= len(content) and stated not in (size + _HEAD, size + _HEAD - 1, size, all_before):
            raise damaged(end, f"a tag of {size + _HEAD:,} bytes states that it has {stated:,}")
        at = end + 4
    # The size behind the last tag is not needed.
    return at + _HEAD if at < len(content) else None


def _check_time(times: list[int], at: int) -> None:
    """Looks for a frame's time, milliseconds, that is far off between two that are in order.

    Where a recording starts anew, the second and the third are both earlier than the first.
    """
    if len(times) == 3 and times[0] <= times[2]:
        low, middle, high = times
        if middle < low - _JUMP_MS or middle > high + _JUMP_MS:
            raise damaged(at, "the time of the frame before is impossible")
