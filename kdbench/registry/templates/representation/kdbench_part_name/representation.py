"""The representation `part_name`."""

from __future__ import annotations

import torch
from kdbench import representation
from kdbench.representations.base import Representation, Statistics
from torch import Tensor


@representation("part_name", modality="sensors")
class PartName(Representation):
    """Differences between samples of a series, in standard deviations over the training part.

    `y_i = (x_i - x_{i-lag}) / std`, and zero for the first `lag` samples. It makes a series; for `(B, C, H, W)` say
    `makes = "image"`.

    Args:
        channels: Axes of the sensor.
        statistics: Range of the pictures that an encoder was pretrained on; a series has none.
        lag: Samples between the two. A recipe sets it: `representation: {name: part_name, lag: 2}`.
    """

    makes = "series"
    std: Tensor

    def __init__(self, channels: int, *, statistics: Statistics, lag: int = 1) -> None:
        super().__init__(channels, statistics=statistics)
        self.lag = lag
        self.register_buffer("std", torch.ones(channels, 1))

    def fit(self, values: Tensor) -> None:
        """Takes the standard deviation of each axis over the training part `(N, axes, n)`; saved with the network."""
        std = self._differences(values).std(dim=(0, 2), correction=0)[:, None]
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to the same shape."""
        return self._differences(x) / self.std

    def _differences(self, x: Tensor) -> Tensor:
        later, earlier = x[..., self.lag :], x[..., : -self.lag]
        return torch.cat([torch.zeros_like(x[..., : self.lag]), later - earlier], dim=-1)
