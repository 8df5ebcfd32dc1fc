"""What a raw recording is, and what a network is given of it: the one place for readers, exports and streams.

A kind of video turns all frames of a trial into a clip; a kind of series turns its samples into the series that is
resampled. Some need the whole trial: its box, its range, where the hip mostly is. They are named in `needs_trial`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kdbench.data import display
from kdbench.data.readers import depth, skeleton
from kdbench.data.readers.timeline import centre_frames, resample
from kdbench.data.readers.video_file import centre_square
from kdbench.errors import unknown

SQUEEZED_SIDE = 256
"""Side of a squeezed frame, pixels; larger than any preset's."""
_LEAST_MM = 50
"""Depths below this are metres."""
_REAL = "fiu"
"""Kinds of numbers that are read: neither complex nor truth values."""


class NotFiniteError(ValueError):
    """Values are missing or infinite; `hint` says what helps."""

    hint = "Fill or delete these samples."


class VideoKind(ABC):
    """A kind of video recording.

    Attributes:
        takes: What a recording is, in words.
        needs_trial: What of the preprocessing is computed over the whole trial.
        parameters: Its constants, as an export writes them down.
        is_colour: Whether video files hold it.
    """

    takes: ClassVar[str]
    needs_trial: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[Mapping[str, Any]] = {}
    is_colour: ClassVar[bool] = False

    @abstractmethod
    def checked(self, frames: np.ndarray, channels: int) -> np.ndarray:
        """The recording in the form that `clip` takes.

        Args:
            frames: What a user gives.
            channels: Of the clip that a network takes.

        Raises:
            ValueError: It is something else; the message says what was expected.
        """

    @abstractmethod
    def clip(self, frames: np.ndarray, count: int, height: int) -> np.ndarray:
        """What is resized for a network.

        Args:
            frames: As `checked` gives them, all of the trial.
            count: How many frames to take, at the centres of equal parts.
            height: Of the card's view, pixels.

        Returns:
            `(count, side, side, channels)`, uint8.

        Raises:
            ValueError: The preprocessing has nothing to work with.
        """


class Frames(VideoKind):
    """Square frames of 8 bits, as they are."""

    takes = "square frames (F, side, side) or (F, side, side, channels), uint8"

    def checked(self, frames: np.ndarray, channels: int) -> np.ndarray:
        """See the base class."""
        frames = frames[..., np.newaxis] if frames.ndim == 3 else frames
        if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[3] != channels:
            raise ValueError(f"it is {frames.shape} {frames.dtype}, with {channels} channels expected; {self.takes}")
        if frames.shape[1] != frames.shape[2] or not frames.size:
            raise ValueError(f"its frames are {frames.shape[1]}×{frames.shape[2]}, and square ones are expected")
        return frames

    def clip(self, frames: np.ndarray, count: int, height: int) -> np.ndarray:  # noqa: ARG002
        """See the base class."""
        return frames[centre_frames(len(frames), count)]


class CentredColour(VideoKind):
    """Colour video; the centred square of the whole frame."""

    takes = "colour frames (F, rows, columns, 3), uint8, RGB; or a video file"
    is_colour = True

    def checked(self, frames: np.ndarray, channels: int) -> np.ndarray:
        """See the base class."""
        if frames.ndim != 4 or frames.shape[3] != channels or frames.dtype != np.uint8 or not frames.size:
            raise ValueError(f"it is {frames.shape} {frames.dtype}; expected {self.takes}")
        return frames

    def clip(self, frames: np.ndarray, count: int, height: int) -> np.ndarray:  # noqa: ARG002
        """See the base class."""
        return np.ascontiguousarray(centre_square(frames[centre_frames(len(frames), count)]))


class SqueezedColour(CentredColour):
    """Colour video; the whole frame, squeezed to a square by the decoder."""

    takes = f"a video file, or colour frames (F, rows, columns, 3), uint8, RGB, which are squeezed to {SQUEEZED_SIDE}²"
    parameters: ClassVar[Mapping[str, Any]] = {"side": SQUEEZED_SIDE}

    def checked(self, frames: np.ndarray, channels: int) -> np.ndarray:
        """See the base class."""
        frames = super().checked(frames, channels)
        if frames.shape[1:3] == (SQUEEZED_SIDE, SQUEEZED_SIDE):
            return frames
        return display.squeezed(frames, SQUEEZED_SIDE)


class PersonDepth(VideoKind):
    """Depth of one segmented person; a square around the person, grey between the near and the far end."""

    takes = "depth frames (F, rows, columns) in millimetres, 0 where no person is"
    needs_trial = ("crop: the box of the person over all frames", "range: percentiles of depth over all frames")
    parameters: ClassVar[Mapping[str, Any]] = {
        "margin": depth.MARGIN,
        "percentiles": list(depth.PERCENTILES),
        "grey_of_farthest": depth.FARTHEST,
    }

    def checked(self, frames: np.ndarray, channels: int) -> np.ndarray:
        """See the base class."""
        if frames.ndim != 3 or frames.dtype.kind not in _REAL or channels != 1 or not frames.size:
            raise ValueError(f"it is {frames.shape} {frames.dtype}; expected {self.takes}")
        least, most = frames.min(), frames.max()
        if not (least >= 0 and most <= depth.FARTHEST_MM):
            raise ValueError(f"depths lie between {least:g} and {most:g}; expected {self.takes}")
        if 0 < most < _LEAST_MM:
            raise ValueError(
                f"the largest depth is {most:g}, which looks like metres: multiply by 1000; expected {self.takes}"
            )
        return frames

    def clip(self, frames: np.ndarray, count: int, height: int) -> np.ndarray:  # noqa: ARG002
        """See the base class."""
        return depth.clip_of(frames, count)[..., np.newaxis]


class DrawnJoints(VideoKind):
    """Joints of the first Kinect, drawn as bones."""

    takes = f"joints (F, {skeleton.JOINTS}, 3) in metres: x to the right, y up, z away from the camera"
    needs_trial = ("centre: the median of the hip over all frames", "scale: the median torso over all frames")
    parameters: ClassVar[Mapping[str, Any]] = {
        "half_side": skeleton.HALF_SIDE,
        "nearest": skeleton.NEAREST,
        "farthest": skeleton.FARTHEST,
        "grey_of_farthest": skeleton.GREY_OF_FARTHEST,
        "thickness": skeleton.THICKNESS,
    }

    def checked(self, frames: np.ndarray, channels: int) -> np.ndarray:
        """See the base class."""
        if channels != 1:
            raise ValueError(f"drawn joints have one channel, and {channels} are expected")
        return joints_of(frames)

    def clip(self, frames: np.ndarray, count: int, height: int) -> np.ndarray:
        """See the base class."""
        return skeleton.clip_of(skeleton.normalised(frames), count, height)[..., np.newaxis]


class SeriesKind:
    """Samples as they are recorded.

    Attributes:
        takes: As for a kind of video.
        needs_trial: As for a kind of video.
    """

    takes: ClassVar[str] = "samples (n, axes)"
    needs_trial: ClassVar[tuple[str, ...]] = ()

    def series(self, samples: np.ndarray) -> np.ndarray:
        """What is resampled for a network `(n, axes)`, float32.

        Args:
            samples: What a user gives.

        Raises:
            ValueError: It is something else.
        """
        if samples.ndim != 2 or len(samples) < 2 or samples.dtype.kind not in _REAL:
            raise ValueError(f"it is {samples.shape} {samples.dtype}; expected {self.takes}, at least two samples")
        if bad := int(samples.size - np.isfinite(samples).sum()):
            raise NotFiniteError(f"it has values that are not finite, {bad} of them")
        return np.ascontiguousarray(samples, np.float32)


class Joints(SeriesKind):
    """Joints of the first Kinect, relative to the hip, in torso lengths."""

    takes = DrawnJoints.takes
    needs_trial = DrawnJoints.needs_trial

    def series(self, samples: np.ndarray) -> np.ndarray:
        """See the base class."""
        joints = skeleton.normalised(joints_of(samples))
        return joints.reshape(len(joints), -1)


def joints_of(positions: np.ndarray) -> np.ndarray:
    """Positions of joints `(F, 20, 3)`, given so or joint by joint `(F, 60)`.

    Raises:
        ValueError: They are something else.
    """
    if positions.ndim == 2 and positions.shape[1] == 3 * skeleton.JOINTS:
        positions = positions.reshape(len(positions), skeleton.JOINTS, 3)
    are_joints = positions.ndim == 3 and positions.shape[1:] == (skeleton.JOINTS, 3) and len(positions)
    if not are_joints or positions.dtype.kind not in _REAL:
        raise ValueError(f"it is {positions.shape} {positions.dtype}; expected {DrawnJoints.takes}")
    if not np.isfinite(positions).all():
        raise NotFiniteError("it has positions that are not finite")
    return positions


def resampled(series: np.ndarray, samples: int | None) -> np.ndarray:
    """A series as the network takes it `(axes, samples)`, float32; None keeps its length."""
    return np.ascontiguousarray(series.T) if samples is None else resample(series, samples)


VIDEO_KINDS: Mapping[str, VideoKind] = {
    "frames": Frames(),
    "centred_colour": CentredColour(),
    "squeezed_colour": SqueezedColour(),
    "person_depth": PersonDepth(),
    "drawn_joints": DrawnJoints(),
}
SERIES_KINDS: Mapping[str, SeriesKind] = {"samples": SeriesKind(), "joints": Joints()}


def video_kind(name: str) -> VideoKind:
    """A kind of video by its name.

    Raises:
        UsageError: There is none.
    """
    if name not in VIDEO_KINDS:
        raise unknown("kind of video", name, VIDEO_KINDS, hint="Kinds stand in kdbench.data.readers.kinds.")
    return VIDEO_KINDS[name]


def series_kind(name: str) -> SeriesKind:
    """A kind of series by its name.

    Raises:
        UsageError: There is none.
    """
    if name not in SERIES_KINDS:
        raise unknown("kind of series", name, SERIES_KINDS, hint="Kinds stand in kdbench.data.readers.kinds.")
    return SERIES_KINDS[name]
