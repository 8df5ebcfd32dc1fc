"""What a representation is: raw input of one source to what an encoder takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

Statistics = tuple[Sequence[float], Sequence[float]]


class Representation(nn.Module, ABC):
    """Turns the raw input of one source into an encoder's input, batched and on the device of its input.

    Subclasses take `channels`, the keyword `statistics`, and their own keyword parameters, which recipes set.

    Args:
        channels: Channels of the raw input (axes of a sensor, channels of a frame).
        statistics: Mean and standard deviation, a value a channel or one for all, of the input in [0, 1] that the
            encoder was pretrained on.

    Attributes:
        makes: What comes out: `series` (B, C, n), `image` (B, C, H, W) or `clip` (B, C, T, H, W).
        out_channels: C of what comes out.
    """

    makes: ClassVar[Literal["series", "image", "clip"]]
    out_channels: int

    def __init__(self, channels: int, *, statistics: Statistics) -> None:  # noqa: ARG002
        super().__init__()
        self.out_channels = channels

    @classmethod
    def takes_native(cls, parameters: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """Whether it takes series at their native lengths, instead of resampled to `data.series_length` samples.

        Then a batch is `(B, axes, longest)` with NaN behind the end of each shorter series, which may have no influence
        on what is made of a row; `fit` gets the series of the training part end to end, as one row `(1, axes, total)`.

        Args:
            parameters: Its keyword parameters in the recipe.
        """
        return False

    def fit(self, values: Tensor) -> None:
        """Learns from the training part, once, before training. Does nothing by default.

        Args:
            values: Raw inputs of the training part, for a sensor `(N, axes, n)`.
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Represents a batch; rows do not depend on one another."""


def per_channel(values: Sequence[float], channels: int) -> Tensor:
    """A float32 vector with one value a channel.

    Where the lengths differ (one value for all, or three of RGB for a sensor with another number of axes), every
    channel gets the mean of the values.
    """
    given = torch.tensor([float(value) for value in values])
    return given if len(given) == channels else given.mean().expand(channels).clone()
