"""Markov transition fields: how likely a series steps between the levels that it has at two times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import torch
from scipy.special import ndtri
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.registry import representation
from kdbench.representations.base import Statistics
from kdbench.representations.images import ImageOfSeries, checked_choices, lerp
from kdbench.representations.length import Windows, aggregate, resample, samples_of, wide, windows
from kdbench.representations.memory import fresh

STRATEGIES = ("quantile", "uniform", "normal")
EQUAL_EDGES = 1e-8
"""Quantiles that lie this close to the next are one, as in pyts."""


def markov_transition_field(
    series: Tensor,
    *,
    bins: int = 8,
    image_size: int | float | None = None,
    strategy: Literal["quantile", "uniform", "normal"] = "quantile",
    overlapping: bool = False,
) -> Tensor:
    """Markov transition field of every series (Wang and Oates, 2015), as `pyts.image.MarkovTransitionField`.

    With q_i the bin of x_i, and W_ab the share of the steps from bin a that lead to bin b (a row of W sums to one, or
    to zero where no step leaves the bin), the field is

        M_ij = W[q_i, q_j]

    and a smaller image holds its means over windows, the paper's blurring. A constant series lies in one bin: its field
    is 1. The field has steps, so no gradient flows to the series.

    Args:
        series: `(…, n)`, finite; integers become float64.
        bins: Q, the number of bins.
        image_size: As in `gramian_angular_field`, but the field is averaged, not the series.
        strategy: Where a series is cut: at its own quantiles (equal ones, as of a series with ties, count once), into
            parts of equal width between its extremes, or at the quantiles of the standard normal distribution, which is
            meant for standardised series.
        overlapping: Whether the windows have one length and overlap, or vary and do not.

    Returns:
        `(…, n, n)` or `(…, image_size, image_size)`, in the dtype of `series`, in [0, 1].

    Raises:
        UsageError: A parameter out of its range.
    """
    n = series.shape[-1]
    size = samples_of(image_size, n)
    dtype = series.dtype if series.is_floating_point() else torch.float64
    given = windows(n, size, overlapping=overlapping, device=series.device) if size < n else None
    with torch.no_grad():
        steps, levels = transitions(wide(series), bins, strategy)
        return field(steps, levels if given is None else aggregate(levels, given), dtype)


def transitions(values: Tensor, bins: int, strategy: str) -> tuple[Tensor, Tensor]:
    """The transition matrix of every series, and which bin each sample is in.

    Args:
        values: `(…, n)`, float64.
        bins: Q.
        strategy: See `markov_transition_field`.

    Returns:
        W `(…, Q, Q)`, and the memberships `(…, Q, n)`, one where the sample is in the bin and else zero.

    Raises:
        UsageError: An unknown strategy, or fewer than two bins.
    """
    checked(bins, strategy)
    place = torch.zeros_like(values, dtype=torch.int64)
    for edge in _edges(values, bins, strategy):
        place += values > edge
    membership = (place[..., None, :] == torch.arange(bins, device=values.device)[:, None]).to(values.dtype)
    with torch.autocast(values.device.type, enabled=False):
        # Counting by a product of zeros and ones is exact, and needs no scatter, whose order a GPU leaves open.
        counts = membership[..., :-1] @ membership[..., 1:].mT
    return counts / counts.sum(-1, keepdim=True).clamp_min(1), membership


def checked(bins: int, strategy: str) -> None:
    """Raises `UsageError` where a parameter of a Markov transition field is out of its range."""
    checked_choices("MTF", {"strategy": (strategy, STRATEGIES)})
    if not isinstance(bins, int) or bins < 2:
        raise ParameterError(f"the MTF's bins = {bins!r}: expected a whole number, at least 2", "bins")


def field(steps: Tensor, levels: Tensor, dtype: torch.dtype, *, scale: Tensor | float = 1.0) -> Tensor:
    """`scale` times the field `(…, S, S)`, from W `(…, Q, Q)` and the mean memberships of each pixel `(…, Q, S)`."""
    left = (scale * (levels.mT @ steps)).to(dtype)
    size, bins = left.shape[-2:]
    image = fresh((*left.shape[:-1], size), dtype=dtype, device=left.device)
    with torch.autocast(left.device.type, enabled=False):
        factors = left.reshape(-1, size, bins), levels.to(dtype).reshape(-1, bins, size)
        torch.bmm(*factors, out=image.view(-1, size, size))
    return image


def _edges(values: Tensor, bins: int, strategy: str) -> Iterator[Tensor | float]:
    """The inner edges of the bins; a sample is above each that it exceeds."""
    if strategy == "normal":
        return (float(ndtri(part / bins)) for part in range(1, bins))
    if strategy == "uniform":
        low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
        step = (high - low) / bins
        return (low + part * step for part in range(1, bins))
    ordered = values.sort(-1).values
    edges = [_quantile(ordered, part / bins) for part in range(1, bins)]
    kept = [torch.where(after - edge > EQUAL_EDGES, edge, math.inf) for edge, after in pairwise(edges)]
    return iter([*kept, edges[-1]])


def _quantile(ordered: Tensor, share: float) -> Tensor:
    last = ordered.shape[-1] - 1
    position = share * last
    below = math.floor(position)
    low, high = ordered[..., below : below + 1], ordered[..., min(below + 1, last) :][..., :1]
    return lerp(low, high, position - below)


@representation("mtf", modality="sensors")
class MarkovTransitionField(ImageOfSeries):
    """Markov transition field images, an axis a channel, normalised by the statistics of the encoder's pretraining.

    Args:
        channels: Axes of the sensor.
        statistics: See the base class.
        image_size: S. Below n samples the field is averaged over windows, above it is interpolated.
        bins: Levels that an axis is cut into.
        strategy: `quantile` or `uniform`, by each trial's own values; `normal` standardises each axis by the training
            part first, and so keeps its amplitude.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        image_size: int = 224,
        bins: int = 8,
        strategy: Literal["quantile", "uniform", "normal"] = "quantile",
    ) -> None:
        super().__init__(channels, statistics=statistics, image_size=image_size)
        checked(bins, strategy)
        self.bins, self.strategy = bins, strategy
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("std", torch.ones(channels, 1))
        self._windows: dict[tuple[int, torch.device], Windows] = {}

    def fit(self, values: Tensor) -> None:
        """Takes the mean and the standard deviation of each axis over all of `values` (N, axes, n), for `normal`."""
        std, mean = torch.std_mean(values.double(), dim=(0, 2), correction=0)
        self.mean.copy_(mean[:, None])
        self.std.copy_(torch.where(std > 0, std, 1.0)[:, None])

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to `(B, axes, S, S)`, float32."""
        values = wide(x)
        if self.strategy == "normal":
            values = (values - self.mean) / self.std
        steps, levels = transitions(values, self.bins, self.strategy)
        image = field(steps, self._to_size(levels), self.gain.dtype, scale=self.gain)
        return image.add_(self.offset)

    def _to_size(self, levels: Tensor) -> Tensor:
        n, device = levels.shape[-1], levels.device
        if self.image_size > n:
            return resample(levels.flatten(0, 1), self.image_size).unflatten(0, levels.shape[:2])
        if self.image_size == n:
            return levels
        if (n, device) not in self._windows:
            self._windows[n, device] = windows(n, self.image_size, device=device)
        return aggregate(levels, self._windows[n, device])
