"""The preprocessing of a stream: recordings as they come in, and what a network is given of the last seconds of them.

Nothing knows the future. Where a kind needs a whole trial, the window stands for it. What the box and the range of a
person in depth frames need is kept for each frame as it comes in, so that a window costs no more than its clip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from kdbench.data.readers import depth
from kdbench.data.readers.kinds import PersonDepth, SeriesKind, VideoKind
from kdbench.data.readers.timeline import centre_frames


class RunningSeries:
    """The last seconds of a series.

    Args:
        kind: What its samples are.
    """

    method = "each window is preprocessed on its own"

    def __init__(self, kind: SeriesKind) -> None:
        self._kind = kind
        self._held: deque[tuple[float, np.ndarray]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, seconds: float, sample: np.ndarray) -> None:
        """Takes a sample `(axes,)`, or `(joints, 3)`.

        Args:
            seconds: Its time.
            sample: The sample.
        """
        self._held.append((seconds, sample))

    def forget(self, before: float) -> None:
        """Drops what came before a time, seconds."""
        while self._held and self._held[0][0] < before:
            self._held.popleft()

    def series(self) -> np.ndarray:
        """What is resampled for the network `(n, axes)`, float32.

        Raises:
            ValueError: There is too little, or something else than samples of this kind.
        """
        if not self._held:
            raise ValueError("no sample came in")
        return self._kind.series(np.stack([sample for _, sample in self._held]))


class RunningVideo:
    """The last seconds of a video.

    Args:
        kind: What its frames are.
        frames: How many a network is shown.
        height: Of the card's view, pixels.
        frame_size: Height and width of what the network is shown, pixels.
        channels: Of what the network is shown.
    """

    method = "each window is preprocessed on its own"

    def __init__(self, kind: VideoKind, frames: int, height: int, frame_size: int, channels: int) -> None:
        self._kind, self._count, self._height, self._size, self._channels = kind, frames, height, frame_size, channels
        self._held: deque[tuple[float, np.ndarray]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, seconds: float, frame: np.ndarray) -> None:
        """Takes a frame.

        Args:
            seconds: Its time.
            frame: As the kind's recordings have it, without the first axis.

        Raises:
            ValueError: It is none of this kind.
        """
        self._held.append((seconds, self._kind.checked(frame[np.newaxis], self._channels)[0]))

    def forget(self, before: float) -> None:
        """Drops what came before a time, seconds."""
        while self._held and self._held[0][0] < before:
            self._held.popleft()

    def tensor(self) -> np.ndarray:
        """What the network takes of the window `(channels, frames, size, size)`, uint8.

        Raises:
            ValueError: There is nothing to be seen.
        """
        from kdbench.data.resizing import resized

        return resized(self._clip(), self._size)

    def _clip(self) -> np.ndarray:
        if not self._held:
            raise ValueError("no frame came in")
        # Frames of a camera are large: where each stands for itself, those that are not shown are not copied.
        places = range(len(self._held)) if self._kind.needs_trial else centre_frames(len(self._held), self._count)
        return self._kind.clip(np.stack([self._held[place][1] for place in places]), self._count, self._height)


class RunningPerson(RunningVideo):
    """The last seconds of depth frames of one segmented person. Arguments: see `RunningVideo`.

    Depths are counted by the millimetre, so that percentiles over the window are had without its pixels.
    """

    method = "running box and range: those of the frames of the window"

    def __init__(self, kind: VideoKind, frames: int, height: int, frame_size: int, channels: int) -> None:
        super().__init__(kind, frames, height, frame_size, channels)
        self._extents: deque[tuple[float, depth.Extent]] = deque()
        self._counts: deque[tuple[float, np.ndarray]] = deque()
        self._total = np.zeros(depth.FARTHEST_MM + 1, np.int64)

    def add(self, seconds: float, frame: np.ndarray) -> None:
        """See the base class."""
        super().add(seconds, frame)
        covered = frame > 0
        if (found := depth.extent(covered[np.newaxis])) is not None:
            self._extents.append((seconds, found))
        counts = np.bincount(np.rint(frame[covered]).astype(np.int64))
        self._total[: len(counts)] += counts
        self._counts.append((seconds, counts))

    def forget(self, before: float) -> None:
        """See the base class."""
        super().forget(before)
        while self._extents and self._extents[0][0] < before:
            self._extents.popleft()
        while self._counts and self._counts[0][0] < before:
            _, counts = self._counts.popleft()
            self._total[: len(counts)] -= counts

    def _clip(self) -> np.ndarray:
        if not self._extents:
            raise ValueError("no person in any frame")
        extents = np.array([found for _, found in self._extents])
        first, last = extents.min(axis=0), extents.max(axis=0)
        box = depth.square_around((int(first[0]), int(last[1]), int(first[2]), int(last[3])))
        near, far = percentiles(self._total, depth.PERCENTILES)
        chosen = np.stack([self._held[place][1] for place in centre_frames(len(self._held), self._count)])
        return depth.to_grey(depth.crop(chosen, *box), near, far)[..., np.newaxis]


def percentiles(counts: np.ndarray, wanted: Sequence[float]) -> list[float]:
    """Percentiles of values that are counted, as `numpy.percentile` interpolates them.

    Args:
        counts: How often each of 0, 1, 2, … occurs, at least one of them once.
        wanted: From 0 to 100.
    """
    ranks = np.cumsum(counts)
    found = []
    for share in wanted:
        place = (int(ranks[-1]) - 1) * share / 100
        below, above = (
            int(np.searchsorted(ranks, int(rank), side="right")) for rank in (np.floor(place), np.ceil(place))
        )
        found.append(below + (above - below) * (place - np.floor(place)))
    return found


def running_video(kind: VideoKind, *, frames: int, height: int, frame_size: int, channels: int) -> RunningVideo:
    """A running video of a kind; arguments as for `RunningVideo`."""
    made = RunningPerson if isinstance(kind, PersonDepth) else RunningVideo
    return made(kind, frames, height, frame_size, channels)
