"""Gramian angular fields: a series as an image (Wang and Oates, 2015; eq. 1-3 of the reference system)."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import UsageError, unknown
from kdbench.registry import representation
from kdbench.representations.base import Representation, Statistics, per_channel

METHODS = ("summation", "difference")
RESIZES = ("image", "series", "paa")
RANGES = ("trial", "dataset")


def gramian_angular_field(
    series: Tensor,
    *,
    method: Literal["summation", "difference"] = "summation",
    image_size: int | float | None = None,
    sample_range: tuple[float, float] | None = (-1, 1),
    overlapping: bool = False,
) -> Tensor:
    """Gramian angular field of every series, as `pyts.image.GramianAngularField` computes it.

    With x̂ the series scaled to `sample_range` (eq. 1) and φ = arccos x̂ (eq. 2), the field is (eq. 3)

        summation   G_ij = cos(φ_i + φ_j) = x̂_i x̂_j − √(1−x̂_i²) √(1−x̂_j²)
        difference  G_ij = sin(φ_i − φ_j) = √(1−x̂_i²) x̂_j − x̂_i √(1−x̂_j²)

    A constant series takes the lower end of `sample_range`.

    Args:
        series: `(…, n)`; integers become float64.
        method: Which field.
        image_size: Piecewise aggregate approximation to this many samples first, or to this share of n (a float in
            (0, 1]); None keeps n.
        sample_range: Range that each series is scaled to, within [−1, 1]; None leaves the values, which must lie there.
        overlapping: Whether the windows of the approximation have one length and overlap, or vary and do not.

    Returns:
        `(…, n, n)` or `(…, image_size, image_size)`, in the dtype of `series`, in [−1, 1].

    Raises:
        UsageError: A parameter out of its range, or `sample_range=None` with values outside [−1, 1].
    """
    if method not in METHODS:
        raise unknown("GAF method", str(method), METHODS)
    dtype = series.dtype if series.is_floating_point() else torch.float64
    values = aggregate(_wide(series), _samples(image_size, series.shape[-1]), overlapping=overlapping)
    if sample_range is None:
        largest = values.abs().amax()
        if largest > 1:
            raise UsageError(
                f"sample_range=None needs values in [-1, 1]; the series reaches {largest.item():.6g} in magnitude",
                hint="Pass sample_range=(-1, 1) to have each series scaled.",
            )
        cosine = values
    else:
        cosine = rescale(values, values.amin(-1, keepdim=True), values.amax(-1, keepdim=True), sample_range)
    return angular_products(cosine.to(dtype), sine(cosine).to(dtype), method)


def rescale(values: Tensor, low: Tensor, high: Tensor, sample_range: tuple[float, float] = (-1, 1)) -> Tensor:
    """Scales `[low, high]` to `sample_range`, clamped to it (eq. 1).

    Where high = low every value becomes the lower end of the range, as in scikit-learn and pyts.

    Args:
        values: Series `(…, n)`, float64.
        low: Lower extremes, broadcastable to `values`.
        high: Upper extremes, broadcastable to `values`.
        sample_range: Target range, within [−1, 1].

    Raises:
        UsageError: The range does not satisfy −1 <= lower < upper <= 1.
    """
    lower, upper = sample_range
    if not -1 <= lower < upper <= 1:
        raise UsageError(f"sample_range = {sample_range}: expected -1 <= lower < upper <= 1")
    span = high - low
    # scikit-learn's rule for a constant feature, and its order of operations: pyts is matched to the last bit.
    scale = (upper - lower) / torch.where(span < 10 * torch.finfo(span.dtype).eps, 1.0, span)
    return (values * scale + (lower - low * scale)).clamp(lower, upper)


def sine(cosine: Tensor) -> Tensor:
    """√(1 − x̂²), for x̂ in [−1, 1]."""
    return (1 - cosine.square()).clamp_min(0).sqrt()


def angular_products(
    cosine: Tensor, sine: Tensor, method: str, *, scale: Tensor | float = 1.0, offset: Tensor | None = None
) -> Tensor:
    """`scale` times the field of eq. 3, plus `offset`, in two passes over the image's memory.

    Args:
        cosine: x̂ `(…, S)`.
        sine: √(1 − x̂²) `(…, S)`.
        method: `summation` or `difference`.
        scale: Broadcastable to `cosine`.
        offset: Broadcastable to the image `(…, S, S)`.
    """
    first, second = (cosine, sine) if method == "summation" else (sine, cosine)
    left, right = (scale * first)[..., :, None], cosine[..., None, :]
    image = left * right if offset is None else torch.addcmul(offset, left, right)
    return image.addcmul_((scale * second)[..., :, None], sine[..., None, :], value=-1)


def aggregate(series: Tensor, size: int, *, overlapping: bool = False) -> Tensor:
    """Piecewise aggregate approximation `(…, n)` to `(…, size)`: means over windows with the bounds of pyts."""
    n = series.shape[-1]
    if size == n:
        return series
    window = math.ceil(n / size)
    if overlapping:
        start = np.arange(size) * window - np.linspace(0, size * window - n, size).astype(np.int64)
        end = start + window
    else:
        bounds = np.linspace(0, n, size + 1).astype(np.int64)
        start, end = bounds[:-1], bounds[1:]
    length = torch.from_numpy(end - start).to(series.device)
    total = series.new_zeros(*series.shape[:-1], size)
    # In the order of pyts' sums, so that extremes agree to the last bit: √(1 − x̂²) magnifies what is left to its root.
    for step in range(window):
        place = torch.from_numpy(np.minimum(start + step, n - 1)).to(series.device)
        total = total + torch.where(step < length, series[..., place], 0.0)
    # A mean of equal values is not always that value; the clamp keeps a constant series constant.
    return (total / length).clamp(series.amin(-1, keepdim=True), series.amax(-1, keepdim=True))


def _wide(series: Tensor) -> Tensor:
    # float64 costs nothing at the size of a series; Apple's GPUs have none.
    return series.float() if series.device.type == "mps" else series.double()


def _samples(image_size: int | float | None, n: int) -> int:
    if image_size is None:
        return n
    size = math.ceil(image_size * n) if isinstance(image_size, float) else image_size
    if not 1 <= size <= n or (isinstance(image_size, float) and not 0 < image_size <= 1):
        raise UsageError(
            f"image_size = {image_size!r} does not fit a series of {n} samples: expected 1 … {n}, or a share in (0, 1]"
        )
    return size


@representation("gaf", modality="sensors")
class GramianAngularField(Representation):
    """Gramian angular field images, an axis a channel, normalised by the statistics of the encoder's pretraining.

    Args:
        channels: Axes of the sensor.
        statistics: See the base class; they apply to the field moved from [−1, 1] to [0, 1].
        image_size: S, height and width of the image.
        method: `summation` or `difference`.
        resize: From n samples to S: `image` resizes the n × n field (bilinear, antialiased), `series` resamples the
            series first, `paa` averages windows of it as pyts does (needs n >= S).
        range: `trial` scales each axis by the trial's own extremes (eq. 1), which throws amplitude and offset away;
            `dataset` by the extremes of the training part.
    """

    makes = "image"
    low: Tensor
    high: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        image_size: int = 224,
        method: Literal["summation", "difference"] = "summation",
        resize: Literal["image", "series", "paa"] = "image",
        range: Literal["trial", "dataset"] = "trial",  # noqa: A002
    ) -> None:
        super().__init__(channels, statistics=statistics)
        for value, key, known in ((method, "method", METHODS), (resize, "resize", RESIZES), (range, "range", RANGES)):
            if value not in known:
                raise unknown(f"value of the GAF's {key}", str(value), known)
        if not isinstance(image_size, int) or image_size < 1:
            raise UsageError(f"the GAF's image_size = {image_size!r}: expected a whole number of pixels, at least 1")
        self.image_size, self.method, self.resize, self.range = image_size, method, resize, range
        self.register_buffer("low", -torch.ones(channels, 1))
        self.register_buffer("high", torch.ones(channels, 1))
        mean, std = (per_channel(values, channels) for values in statistics)
        self.register_buffer("gain", (0.5 / std).view(-1, 1), persistent=False)
        self.register_buffer("offset", ((0.5 - mean) / std).view(-1, 1, 1), persistent=False)

    def fit(self, values: Tensor) -> None:
        """Takes the extremes of each axis over all of `values` (N, axes, n), for `range: dataset`."""
        self.low.copy_(values.amin((0, 2))[:, None])
        self.high.copy_(values.amax((0, 2))[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to `(B, axes, S, S)`, float32."""
        values = _wide(x)
        if self.resize == "series":
            values = resample(values, self.image_size)
        elif self.resize == "paa":
            values = aggregate(values, _samples(self.image_size, values.shape[-1]))
        if self.range == "trial":
            low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
        else:
            low, high = self.low.to(values.dtype), self.high.to(values.dtype)
        cosine = rescale(values, low, high)
        parts = cosine, sine(cosine)
        if self.resize == "image":
            # The field is a sum of two outer products and the resizing is linear along each side, so resizing the
            # factors gives the resized n × n image without building it.
            parts = resample(parts[0], self.image_size), resample(parts[1], self.image_size)
        cosine, sines = (part.to(self.gain.dtype) for part in parts)
        return angular_products(cosine, sines, self.method, scale=self.gain, offset=self.offset)


def resample(series: Tensor, size: int) -> Tensor:
    """Linear interpolation `(B, C, n)` to `(B, C, size)`, antialiased where it shrinks."""
    if series.shape[-1] == size:
        return series
    return F.interpolate(series[:, :, None], size=(1, size), mode="bilinear", antialias=True)[:, :, 0]
