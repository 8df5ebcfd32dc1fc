"""The series itself, standardised."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.registry import representation
from kdbench.representations.base import Representation, Statistics


@representation("raw", modality="sensors")
class Raw(Representation):
    """The series, standardised per axis by the training part's mean and standard deviation.

    Both are saved with the network. A constant axis becomes zero. `statistics` is not used: a series has no such range.
    """

    makes = "series"
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, *, statistics: Statistics) -> None:
        super().__init__(channels, statistics=statistics)
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("std", torch.ones(channels, 1))

    def fit(self, values: Tensor) -> None:
        """Takes the mean and the standard deviation of each axis over all of `values` (N, axes, n)."""
        std, mean = torch.std_mean(values.double(), dim=(0, 2), correction=0)
        self.mean.copy_(mean[:, None])
        # Rounding may leave a constant axis a small deviation; its extremes are exactly equal.
        constant = values.amax((0, 2)) == values.amin((0, 2))
        self.std.copy_(torch.where(constant, 1.0, std)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to the same shape, in standard deviations."""
        return (x - self.mean) / self.std
