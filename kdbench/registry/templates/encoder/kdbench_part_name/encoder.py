"""The encoder `part_name`."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench import encoder
from kdbench.encoders.base import Encoder
from torch import Tensor, nn


@encoder("part_name", eats="series")
class PartName(Encoder):
    """A plain 1-D net over a series `(B, axes, n)`: a convolution per stage, each halving the length.

    For images or clips say `eats="image"` or `eats="clip"`, and take two or three dimensions.

    Args:
        in_channels: Axes of the sensor.
        widths: C_1 … C_4. A recipe sets them: `encoder: {name: part_name, widths: [8, 16, 32, 64]}`.
    """

    def __init__(self, in_channels: int, *, widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__(in_channels)
        first, second, third, fourth = widths
        self.channels = (first, second, third, fourth)
        self.width = fourth
        self.first = nn.Conv1d(in_channels, first, kernel_size=7, padding=3)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(before, after, kernel_size=5, stride=2, padding=2),
                # Over the channels of one sample: the rest of the batch has no say.
                nn.GroupNorm(1, after),
                nn.ReLU(),
            )
            for before, after in zip((first, first, second, third), self.channels, strict=True)
        )

    def stem(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to `(B, C_1, n)`."""
        return self.first(x)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """`(B, C, n)` to `(B, C_{index+1}, n / 2)`."""
        return self.stages[index](x)

    def pool(self, last: Tensor) -> Tensor:
        """Mean over time: `(B, C_4, n)` to `(B, C_4)`."""
        return last.mean(dim=2)
