"""A depth clip as it would look from the side or from above."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import UsageError, unknown_value
from kdbench.registry import representation
from kdbench.representations.base import Statistics
from kdbench.representations.clip import Clip

SIDES = ("side", "top")
FARTHEST = 40 / 255
"""Grey of the farthest part of a person in the depth views of the data sets; the nearest has 1, the background 0."""


@representation("projection", modality="video")
class Projection(Clip):
    """Each frame of a depth clip seen from another side, so that what moves to the camera moves through the image.

    From the `side`, rows stay and columns are depths, the nearest first; from the `top`, columns stay and rows are
    depths, the nearest first. Of points that fall together the one farthest to the right (`side`) or highest (`top`)
    is seen, and how far that is is its grey: from `FARTHEST` to 1; 0 where there is nothing.

    Source: the planes of Yang, Zhang and Tian, Recognizing actions using depth motion maps, ACM Multimedia 2012; here
    frame by frame, not summed over a trial.

    Args:
        frame_channels: Channels of a frame: 1, the depth.
        statistics: See the base class.
        onto: The plane, `side` or `top`.
        channels: See `Clip`.

    Raises:
        UsageError: The frames are no depth, or there is no such plane.
    """

    def __init__(
        self,
        frame_channels: int,
        /,
        *,
        statistics: Statistics,
        onto: Literal["side", "top"] = "side",
        channels: Literal["repeat", "difference"] = "repeat",
    ) -> None:
        if frame_channels != 1:
            raise UsageError(
                f"projection sees frames of {frame_channels} channels, and depth has one",
                hint="Let the branch see depth (sees: video:depth), or write representation: {name: clip}.",
            )
        super().__init__(frame_channels, statistics=statistics, channels=channels)
        if onto not in SIDES:
            raise unknown_value("onto", onto, SIDES, of="projection")
        self.onto = onto

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 1, T, H, W)`, uint8 or float in [0, 1], to `(B, out_channels, T, H, W)`, float; H and W are equal."""
        frames = x.to(self.mean.dtype) / 255 if x.dtype == torch.uint8 else x
        return super().forward(projected(frames, self.onto))


def projected(frames: Tensor, onto: str) -> Tensor:
    """Frames `(…, S, S)`, float in [0, 1], as seen from the `side` or from the `top`; the same shape.

    What is darker than `FARTHEST` by more than a tenth is background, as what resizing leaves around a person.
    """
    size = frames.shape[-1]
    light = torch.linspace(FARTHEST, 1, size, dtype=frames.dtype, device=frames.device)
    depth = ((1 - frames.clamp(FARTHEST, 1)) / (1 - FARTHEST) * (size - 1)).round().long()
    # The side sees how far right a point is, the top how far up.
    value, along = (light.expand_as(frames), -1) if onto == "side" else (light.flip(0)[:, None].expand_as(frames), -2)
    person = value * (frames > 0.9 * FARTHEST)
    return torch.zeros_like(frames).scatter_reduce(along, depth, person, "amax")
