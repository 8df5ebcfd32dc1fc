"""Gramian angular fields: a series as an image (Wang and Oates, 2015; eq. 1-3 of the reference system)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.registry import representation
from kdbench.representations.base import Representation, Statistics, per_channel
from kdbench.representations.images import checked_choices, checked_size
from kdbench.representations.length import (
    Windows,
    aggregate,
    extremes,
    lengths_of,
    resample,
    resample_each,
    samples_of,
    wide,
    windows,
)
from kdbench.representations.memory import chunks, fresh, reusable
from kdbench.text.wording import counted

METHODS = ("summation", "difference")
RESIZES = ("image", "series", "paa")
RANGES = ("trial", "dataset")
LENGTHS = ("resampled", "native")


def gramian_angular_field(
    series: Tensor,
    *,
    method: Literal["summation", "difference"] = "summation",
    image_size: int | float | None = None,
    sample_range: tuple[float, float] | None = (-1, 1),
    overlapping: bool = False,
    out: Tensor | None = None,
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
        out: Where to write the field: contiguous, of the result's shape and dtype, and no part of `series`.

    Returns:
        `(…, n, n)` or `(…, image_size, image_size)`, in the dtype of `series`, in [−1, 1]; `out` where it is given.

    Raises:
        UsageError: A parameter out of its range, `sample_range=None` with values outside [−1, 1], or an `out` that
            does not fit.
    """
    if method not in METHODS:
        raise unknown_value("method", method, METHODS, of="the GAF")
    dtype = series.dtype if series.is_floating_point() else torch.float64
    n = series.shape[-1]
    size = samples_of(image_size, n)
    if out is not None:
        reusable(out, (*series.shape[:-1], size, size), dtype=dtype, source=series)
    values = wide(series)
    if size < n:
        values = aggregate(values, windows(n, size, overlapping=overlapping, device=series.device))
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
    return angular_products(cosine.to(dtype), sine(cosine).to(dtype), method, out=out)


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
        raise ParameterError(
            f"sample_range = {sample_range}: expected -1 <= lower < upper <= 1", instead={"sample_range": (-1, 1)}
        )
    span = high - low
    # scikit-learn's rule for a constant feature, and its order of operations: pyts is matched to the last bit.
    scale = (upper - lower) / torch.where(span < 10 * torch.finfo(span.dtype).eps, 1.0, span)
    return (values * scale + (lower - low * scale)).clamp(lower, upper)


def sine(cosine: Tensor) -> Tensor:
    """√(1 − x̂²), for x̂ in [−1, 1]."""
    return (1 - cosine.square()).clamp_min(0).sqrt()


def angular_products(
    cosine: Tensor,
    sine: Tensor,
    method: str,
    *,
    scale: Tensor | float = 1.0,
    offset: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`scale` times the field of eq. 3, plus `offset`.

    The image's memory is written once: on a CPU both products meet in the cache.

    Args:
        cosine: x̂ `(…, S)`.
        sine: √(1 − x̂²) `(…, S)`.
        method: `summation` or `difference`.
        scale: Broadcastable to `cosine`.
        offset: Broadcastable to `cosine`; the same along each row of an image.
        out: Contiguous memory of the image's shape and dtype; None takes fresh memory.
    """
    first, second = (cosine, sine) if method == "summation" else (sine, cosine)
    shape = (*cosine.shape, cosine.shape[-1])
    taken = scale * second
    # Writing into memory of one's own is neither differentiated nor exported.
    if (torch.is_grad_enabled() and cosine.requires_grad) or torch.compiler.is_exporting():
        image = (scale * first)[..., None] * cosine[..., None, :] - taken[..., None] * sine[..., None, :]
        return image if offset is None else image + offset[..., None]
    image = fresh(shape, dtype=cosine.dtype, device=cosine.device) if out is None else out
    factors = [x.reshape(-1, shape[-1], 1) for x in (scale * first, taken)]
    factors += [x.reshape(-1, 1, shape[-1]) for x in (cosine, sine)]
    if offset is not None:
        factors.append(offset.expand_as(cosine[..., :1]).reshape(-1, 1, 1))
    # Ternary operations with two broadcast operands are not vectorised on a CPU: the offset has its own.
    for part, left, taken, right, right_sine, *start in chunks(image.view(-1, *shape[-2:]), *factors):
        torch.mul(left, right, out=part).addcmul_(taken, right_sine, value=-1)
        for value in start:
            part.add_(value)
    return image


@representation("gaf", modality="sensors")
class GramianAngularField(Representation):
    """Gramian angular field images, an axis a channel, normalised by the statistics of the encoder's pretraining.

    The paper builds the n × n field of the series as recorded, and then resizes it: that is `length: native` with
    `resize: image`. By default the series comes in resampled to `data.series_length` samples, linearly and without
    antialiasing; where that is `image_size`, as at the preset `paper`, no resizing is left to do. The two readings
    differ most on long recordings.

    Args:
        channels: Axes of the sensor.
        statistics: See the base class; they apply to the field moved from [−1, 1] to [0, 1].
        image_size: S, height and width of the image.
        method: `summation` or `difference`.
        resize: From n samples to S: `image` resizes the n × n field (bilinear, antialiased), `series` resamples the
            series first, `paa` averages windows of it as pyts does (needs n >= S).
        range: `trial` scales each axis by the trial's own extremes (eq. 1), which throws amplitude and offset away;
            `dataset` by the extremes of the training part.
        length: n: `resampled` is `data.series_length` for all trials, `native` what each was recorded with (with
            `resize: image` or `series`).
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
        length: Literal["resampled", "native"] = "resampled",
    ) -> None:
        super().__init__(channels, statistics=statistics)
        choices = {"method": (method, METHODS), "resize": (resize, RESIZES), "range": (range, RANGES)}
        checked_choices("GAF", {**choices, "length": (length, LENGTHS)})
        checked_size(image_size)
        if length == "native" and resize == "paa":
            raise ParameterError(
                "the GAF's length = native does not go with resize = paa, whose windows need one length for all trials",
                instead={"resize": "image"},
            )
        self.image_size, self.method, self.resize, self.range, self.length = image_size, method, resize, range, length
        self.register_buffer("low", -torch.ones(channels, 1))
        self.register_buffer("high", torch.ones(channels, 1))
        mean, std = (per_channel(values, channels) for values in statistics)
        self.register_buffer("gain", (0.5 / std).view(-1, 1), persistent=False)
        self.register_buffer("offset", ((0.5 - mean) / std).view(-1, 1), persistent=False)
        self._windows: dict[tuple[int, torch.device], Windows] = {}

    def fit(self, values: Tensor) -> None:
        """Takes the extremes of each axis over all of `values` (N, axes, n), for `range: dataset`."""
        self.low.copy_(values.amin((0, 2))[:, None])
        self.high.copy_(values.amax((0, 2))[:, None])

    @classmethod
    def takes_native(cls, parameters: Mapping[str, Any]) -> bool:
        """See the base class."""
        return parameters.get("length") == "native"

    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to `(B, axes, S, S)`, float32; with `length: native` n is the longest of the batch."""
        values = wide(x)
        lengths = lengths_of(values) if self.length == "native" else None
        if self.resize == "series":
            values, lengths = self._resized(values, lengths), None
        elif self.resize == "paa":
            values = self._aggregate(values)
        if self.range == "dataset":
            low, high = self.low.to(values.dtype), self.high.to(values.dtype)
        elif lengths is not None:
            low, high = extremes(values, lengths)
        else:
            low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
        cosine = rescale(values, low, high)
        parts = cosine, sine(cosine)
        if self.resize == "image":
            # The field is a sum of two outer products and the resizing is linear along each side, so resizing the
            # factors gives the resized n × n image without building it.
            parts = self._resized(parts[0], lengths), self._resized(parts[1], lengths)
        cosine, sines = (part.to(self.gain.dtype) for part in parts)
        return angular_products(cosine, sines, self.method, scale=self.gain, offset=self.offset)

    def _resized(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return resample(values, self.image_size)
        return resample_each(values, lengths, self.image_size)

    def _aggregate(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        key = n, values.device
        # Kept for each length, since they are made on the host.
        if key not in self._windows:
            if self.image_size > n:
                raise UsageError(
                    f"the GAF's resize = paa takes means of {counted(n, 'sample')}, which makes no image of "
                    f"{self.image_size} pixels a side",
                    hint=f"Give that representation an image_size of {n} or less, or resize: image.",
                )
            self._windows[key] = windows(n, samples_of(self.image_size, n), device=values.device)
        return aggregate(values, self._windows[key])
