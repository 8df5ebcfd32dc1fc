"""Recurrence plots: which states of a series lie near which (Eckmann, Oliffson Kamphorst and Ruelle, 1987)."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.registry import representation
from kdbench.representations.base import Statistics
from kdbench.representations.images import ImageOfSeries, lerp
from kdbench.representations.length import resample, wide
from kdbench.representations.memory import chunks, fresh
from kdbench.text.wording import counted

Threshold = float | Literal["point", "distance"] | None


def recurrence_plot(
    series: Tensor,
    *,
    threshold: Threshold = None,
    percentage: float = 10,
    dimension: int = 1,
    time_delay: int = 1,
) -> Tensor:
    """Recurrence plot of every series, as `pyts.image.RecurrencePlot` computes it.

    With the states y_i = (x_i, x_{i+τ}, …, x_{i+(m−1)τ}) the plot is

        R_ij = Θ(ε − |y_i − y_j|)

    or, without a threshold, the distance |y_i − y_j| itself. Θ(0) = 0: a distance that equals ε is no recurrence. A
    constant series has distances of 0; under `point` and `distance` its ε is 0 too, and nothing recurs.

    Args:
        series: `(…, n)`, finite; integers become float64.
        threshold: ε; or `point`, so that `percentage` of the distances of a series lie below it; or `distance`, that
            percentage of the largest; or None for the distances.
        percentage: For `point` and `distance`, 0 … 100.
        dimension: m.
        time_delay: τ, in samples.

    Returns:
        `(…, n', n')`, in the dtype of `series`, with n' = n − (m−1) τ.

    Raises:
        UsageError: A parameter out of its range, or a series too short for the states.
    """
    checked(threshold, percentage, dimension, time_delay)
    size = series.shape[-1] - (dimension - 1) * time_delay
    if size < 1:
        raise ParameterError(
            f"a series of {counted(series.shape[-1], 'sample')} has no state of dimension {dimension} with "
            f"a delay of {time_delay}",
            "dimension",
            "time_delay",
        )
    dtype = series.dtype if series.is_floating_point() else torch.float64
    # A comparison needs all digits; a distance has those of its dtype.
    values = series.to(dtype) if threshold is None else wide(series)
    states = torch.stack([values[..., step * time_delay :][..., :size] for step in range(dimension)])
    with torch.no_grad():
        distances = _distances(states.reshape(dimension, -1, size)).view(*series.shape[:-1], size, size)
        if threshold is None:
            return distances
        radius: Tensor | float
        if threshold == "distance":
            radius = percentage / 100 * distances.amax((-2, -1), keepdim=True)
        elif threshold == "point":
            radius = _percentile(distances.flatten(-2), percentage / 100)[..., None]
        else:
            radius = threshold
        return fresh(distances.shape, dtype=dtype, device=series.device).copy_(distances < radius)


def checked(threshold: Threshold, percentage: float, dimension: int, time_delay: int) -> None:
    """Raises `UsageError` where a parameter of a recurrence plot is out of its range."""
    if threshold not in ("point", "distance", None) and not (_real(threshold) and float(threshold) > 0):
        raise ParameterError(
            f"threshold = {threshold!r}: expected a positive distance, 'point', 'distance' or null", "threshold"
        )
    if not (_real(percentage) and 0 <= percentage <= 100):
        raise ParameterError(f"percentage = {percentage!r}: expected a number in 0 … 100", "percentage")
    for key, value in (("dimension", dimension), ("time_delay", time_delay)):
        if not isinstance(value, int) or value < 1:
            raise ParameterError(f"{key} = {value!r}: expected a whole number, at least 1", key)


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distances(states: Tensor) -> Tensor:
    """Distances `(N, n', n')` of states `(m, N, n')`."""
    _, rows, size = states.shape
    result = fresh((rows, size, size), dtype=states.dtype, device=states.device)
    for part, *coordinates in chunks(result, *states):
        first, *others = coordinates
        torch.sub(first[:, :, None], first[:, None, :], out=part)
        # With one coordinate the distance is the difference itself: a root of a square would only round it.
        if not others:
            part.abs_()
            continue
        part.square_()
        for other in others:
            part.add_((other[:, :, None] - other[:, None, :]).square_())
        _square_root(part)
    return result


def _square_root(values: Tensor) -> None:
    """In place. On a CPU by NumPy: torch's last bit is wrong in one of a hundred, and ties with ε would fall apart."""
    if values.device.type == "cpu":
        np.sqrt(values.numpy(), out=values.numpy())
    else:
        values.sqrt_()


def _percentile(values: Tensor, share: float) -> Tensor:
    """The value `(…, 1)` that `share` of the last axis's values lie below, interpolated linearly as NumPy does."""
    last = values.shape[-1] - 1
    position = share * last
    below = math.floor(position)
    places = below, min(below + 1, last)
    if values.device.type == "cpu":  # three times as fast there
        ordered = np.partition(values.numpy(), places, axis=-1)
        low, high = (torch.from_numpy(ordered[..., place, None]) for place in places)
    else:
        low, high = (values.kthvalue(1 + place, dim=-1, keepdim=True).values for place in places)
    return lerp(low, high, position - below)


@representation("recurrence", modality="sensors")
class RecurrencePlot(ImageOfSeries):
    """Recurrence plot images, an axis a channel, normalised by the statistics of the encoder's pretraining.

    The series is resampled to as many samples as give S × S points. Without a threshold the distances are shares of the
    trial's largest, which throws the amplitude away; a constant axis is black.

    Args:
        channels: Axes of the sensor.
        statistics: See the base class.
        image_size: S.
        threshold: `null` for distances, `point` or `distance` as in `recurrence_plot`; or ε in standard deviations of
            the axis over the training part, which keeps the amplitude.
        percentage: For `point` and `distance`.
        dimension: m.
        time_delay: τ, in samples of the resampled series.
    """

    std: Tensor

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        image_size: int = 224,
        threshold: Threshold = None,
        percentage: float = 10,
        dimension: int = 1,
        time_delay: int = 1,
    ) -> None:
        super().__init__(channels, statistics=statistics, image_size=image_size)
        checked(threshold, percentage, dimension, time_delay)
        self.scaled = threshold is None
        self.plot = partial(
            recurrence_plot,
            threshold=threshold,
            percentage=percentage,
            dimension=dimension,
            time_delay=time_delay,
        )
        self.samples = image_size + (dimension - 1) * time_delay
        self.register_buffer("std", torch.ones(channels, 1))

    def fit(self, values: Tensor) -> None:
        """Takes the standard deviation of each axis over all of `values` (N, axes, n)."""
        std = values.double().std((0, 2), correction=0)
        self.std.copy_(torch.where(std > 0, std, 1.0)[:, None])

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to `(B, axes, S, S)`, float32."""
        series = resample(wide(x), self.samples)
        if not self.scaled:
            return self.normalise(self.plot(series / self.std))
        low, high = series.amin(-1, keepdim=True), series.amax(-1, keepdim=True)
        # Scaled before the distances are taken, so that no size of the values overflows in float32.
        series = (series - low) / torch.where(high > low, high - low, 1.0)
        plot = self.plot(series.to(self.gain.dtype))
        largest = plot.amax((-2, -1), keepdim=True)
        return self.normalise(plot.div_(torch.where(largest > 0, largest, 1.0)))
