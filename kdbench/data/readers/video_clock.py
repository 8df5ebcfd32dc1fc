"""When the frames of a video are shown, by the times that its container stores."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from kdbench.data.readers.timeline import Showing, showing

_JUMP_SECONDS = 10
_ROUNDING_SECONDS = Fraction(1, 1000)


@dataclass(frozen=True)
class Clock:
    """How a container counts time.

    Attributes:
        tick: Seconds.
        by_order: Whether it stores in which order frames are decoded, and not when they are shown.
        jumps: Whether its clock may jump.
        made_up: Whether it stores no times, and FFmpeg makes some up.
    """

    tick: Fraction
    by_order: bool
    jumps: bool
    made_up: bool

    def times(self, frames: Sequence[Any]) -> list[int | None]:
        """When frames, or packets in the order in which their frames are shown, appear."""
        shown, decoded = [frame.pts for frame in frames], [frame.dts for frame in frames]
        # Where no times of showing are stored, what stands for them is out of order.
        return decoded if self.by_order or _faults(decoded) < _faults(shown) else shown

    def starts_anew(self, packets: Sequence[Any]) -> bool:
        """Whether another recording begins among some packets."""
        sent = [packet.dts for packet in packets]
        if not self.jumps or None in sent:
            return False
        pairs = zip(sent, sent[1:], packets[1:], strict=False)
        return any(next_.is_keyframe and not 0 <= (b - a) * self.tick <= _JUMP_SECONDS for a, b, next_ in pairs)

    def showing(self, frames: Sequence[Any]) -> Showing:
        """For how long each is shown."""
        return showing(
            self.times(frames),
            [max(frame.duration or 0, 0) for frame in frames],
            tolerance=max(1, round(_ROUNDING_SECONDS / self.tick)),
            longest=round(_JUMP_SECONDS / self.tick) if self.jumps else None,
        )

    def seconds(self, shown: Showing) -> float | None:
        """How long a clip lasts; None where nothing says so."""
        return None if shown.ticks is None or self.made_up else float(shown.ticks * self.tick)


def _faults(times: Sequence[int | None]) -> int:
    """How many times are unknown or not later than the one before."""
    pairs = itertools.pairwise(times)
    return times.count(None) + sum(a is not None and b is not None and b <= a for a, b in pairs)
