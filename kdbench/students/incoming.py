"""What comes in of a source, one sample or frame after the other, and how long the computer works to have it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

Item = tuple[float, np.ndarray]
"""Seconds since the beginning, and a sample or a frame."""


class Taken(NamedTuple):
    """A sample or a frame that came in.

    Attributes:
        seconds: Since the beginning.
        value: The sample or the frame.
        work_seconds: For how long the computer worked to have it: reading, decoding, resizing. Waiting is no work.
    """

    seconds: float
    value: np.ndarray
    work_seconds: float


class Feed(ABC):
    """What comes in of a source.

    Attributes:
        dropped: Samples or frames that came while the computer was busy, and were left out.
    """

    dropped: int = 0

    @abstractmethod
    def take(self) -> Taken | None:
        """The next one, as soon as it is there; None where nothing more comes."""

    def close(self) -> None:
        """Nothing more is wanted."""
        return

    def __iter__(self) -> Iterator[Item]:
        """What comes in, without the work."""
        while (taken := self.take()) is not None:
            yield taken.seconds, taken.value


class Played(Feed):
    """A recording that is played.

    Args:
        items: In the order of time; making the next one is work.
        speed: How fast they come: 1 as recorded, 2 twice as fast; 0 as fast as can be.
    """

    def __init__(self, items: Iterator[Item], speed: float = 0) -> None:
        self._items, self._speed = items, speed
        self._began: float | None = None

    def take(self) -> Taken | None:
        """See the base class."""
        began = time.perf_counter()
        self._began = began if self._began is None else self._began
        item = next(self._items, None)
        now = time.perf_counter()
        if item is None:
            return None
        if self._speed > 0:
            time.sleep(max(0.0, self._began + item[0] / self._speed - now))
        return Taken(*item, now - began)


def items_of(array: np.ndarray, rate_hz: float) -> Iterator[Item]:
    """The samples or frames of a recording, each at the end of its share of time."""
    return (((place + 1) / rate_hz, value) for place, value in enumerate(array))
