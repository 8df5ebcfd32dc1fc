"""What representations as images share: a size, and the statistics of the encoder's pretraining."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from kdbench.errors import ParameterError, unknown_value
from kdbench.representations.base import Representation, Statistics, per_channel


class ImageOfSeries(Representation):
    """A representation that makes images in [0, 1], one of each axis by default, then normalises them for the encoder.

    Args:
        channels: Axes of the sensor.
        statistics: See the base class.
        image_size: S, height and width of the image.
        images: Channels of the image, where it has another number than one an axis.

    Attributes:
        gain: 1 / standard deviation, `(out_channels, 1, 1)`.
        offset: −mean / standard deviation, `(out_channels, 1, 1)`.
    """

    makes = "image"
    gain: Tensor
    offset: Tensor

    def __init__(self, channels: int, *, statistics: Statistics, image_size: int, images: int | None = None) -> None:
        super().__init__(channels, statistics=statistics)
        self.out_channels = channels if images is None else images
        checked_size(image_size)
        self.image_size = image_size
        mean, std = (per_channel(values, self.out_channels).view(-1, 1, 1) for values in statistics)
        self.register_buffer("gain", 1 / std, persistent=False)
        self.register_buffer("offset", -mean / std, persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """`(B, out_channels, S, S)` in [0, 1], changed in place, float32."""
        return image.to(self.gain.dtype).mul_(self.gain).add_(self.offset)


def checked_size(image_size: int) -> None:
    """Raises `UsageError` unless the size is a positive whole number of pixels."""
    if not isinstance(image_size, int) or image_size < 1:
        raise ParameterError(
            f"image_size = {image_size!r}: expected a whole number of pixels, at least 1", "image_size"
        )


def checked_choices(owner: str, choices: Mapping[str, tuple[object, tuple[str, ...]]]) -> None:
    """Raises `UsageError` where a value, by its parameter's name, is not among the known ones."""
    for key, (value, known) in choices.items():
        if value not in known:
            raise unknown_value(key, value, known, of=f"the {owner}")


def lerp(low: Tensor, high: Tensor, share: float) -> Tensor:
    """The point at `share` of the way, from the nearer end as NumPy does it, so that ties are the same."""
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
