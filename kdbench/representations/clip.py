"""Video frames, normalised."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import unknown_value
from kdbench.registry import representation
from kdbench.representations.base import Representation, Statistics, per_channel

CHANNELS = ("repeat", "difference")


@representation("clip", modality="video")
class Clip(Representation):
    """The frames in [0, 1], normalised by the statistics of the encoder's pretraining.

    Args:
        frame_channels: Channels of a frame.
        statistics: See the base class.
        channels: `repeat` gives a one-channel view to all three channels of an encoder that wants RGB; `difference`
            appends to each channel its difference from the frame before, in the same units (zero for the first frame).
    """

    makes = "clip"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        frame_channels: int,
        /,
        *,
        statistics: Statistics,
        channels: Literal["repeat", "difference"] = "repeat",
    ) -> None:
        super().__init__(frame_channels, statistics=statistics)
        if channels not in CHANNELS:
            raise unknown_value("channels", channels, CHANNELS, of="clip")
        self.channels = channels
        normalised = 3 if channels == "repeat" and frame_channels == 1 else frame_channels
        self.out_channels = 2 * frame_channels if channels == "difference" else normalised
        mean, std = statistics
        self.register_buffer("mean", per_channel(mean, normalised).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", per_channel(std, normalised).view(-1, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T, H, W)`, uint8 or float in [0, 1], to `(B, out_channels, T, H, W)`, float."""
        frames = x.to(self.mean.dtype) / 255 if x.dtype == torch.uint8 else x
        frames = (frames - self.mean) / self.std
        if self.channels == "repeat":
            return frames
        # The first frame has none before it, and no change. Written in place, it would be a constant of an ONNX graph.
        change = torch.cat([torch.zeros_like(frames[:, :, :1]), frames.diff(dim=2)], dim=2)
        return torch.cat([frames, change], dim=1)
