"""Other numbers of samples: a series averaged over windows, or resampled; and series of unlike lengths in one batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.text.wording import counted


class Windows(NamedTuple):
    """Windows over a series, on the device of the series.

    Attributes:
        places: Position of each window's samples `(longest, size)`, int64; a step a row.
        inside: Whether the window reaches so far `(longest, size)`.
        length: Samples of each window `(size,)`.
    """

    places: Tensor
    inside: Tensor
    length: Tensor


def windows(n: int, size: int, *, overlapping: bool = False, device: torch.device | str = "cpu") -> Windows:
    """Windows that cut n samples into `size` parts, with the bounds of pyts.

    Args:
        n: Samples of the series.
        size: Number of windows, at most n.
        overlapping: Whether they have one length and overlap, or vary and do not.
        device: Where they are kept. Copying them to a GPU waits for it: keep them for all batches of one length.
    """
    longest = math.ceil(n / size)
    if overlapping:
        start = np.arange(size) * longest - np.linspace(0, size * longest - n, size).astype(np.int64)
        end = start + longest
    else:
        bounds = np.linspace(0, n, size + 1).astype(np.int64)
        start, end = bounds[:-1], bounds[1:]
    steps = np.arange(longest)[:, None]
    arrays = np.minimum(start + steps, n - 1), steps < end - start, end - start
    return Windows(*(torch.from_numpy(array).to(device) for array in arrays))


def aggregate(series: Tensor, given: Windows) -> Tensor:
    """Piecewise aggregate approximation `(…, n)` to `(…, size)`: the mean over each window."""
    total = series.new_zeros(*series.shape[:-1], len(given.length))
    # In the order of pyts' sums, so that extremes agree to the last bit: √(1 − x̂²) magnifies what is left to its root.
    for places, inside in zip(given.places, given.inside, strict=True):
        total = total + torch.where(inside, series[..., places], 0.0)
    # A mean of equal values is not always that value; the clamp keeps a constant series constant.
    return (total / given.length).clamp(series.amin(-1, keepdim=True), series.amax(-1, keepdim=True))


def resample(series: Tensor, size: int) -> Tensor:
    """Linear interpolation `(B, C, n)` to `(B, C, size)`, antialiased where it shrinks."""
    if series.shape[-1] == size:
        return series
    if torch.compiler.is_exporting():
        # Exported programs have no such interpolation in float64; it is linear, so a matrix does the same.
        return series @ resampling(series.shape[-1], size, series)
    return F.interpolate(series[:, :, None], size=(1, size), mode="bilinear", antialias=True)[:, :, 0]


def resampling(n: int, size: int, like: Tensor) -> Tensor:
    """What `resample` does as a matrix `(n, size)`, in the dtype and on the device of `like`.

    The weights are those of `torch.nn.functional.interpolate` (bilinear, antialiased).
    """
    scale = n / size
    # Enlarged, a sample reaches to its neighbours; shrunk, each new one averages over what it stands for.
    reach = max(scale, 1.0)
    centre = scale * (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5)
    place = torch.arange(n, device=like.device, dtype=like.dtype)[:, None] + 0.5
    weights = (1 - ((place - centre) / reach).abs()).clamp_min(0)
    return weights / weights.sum(0)


def lengths_of(series: Tensor) -> Tensor:
    """Samples `(B,)` of each series of a batch `(B, C, n)`, without the NaN behind the ends of the shorter ones."""
    # The last place that holds a value; a gap within a series is not its end.
    place = torch.arange(1, series.shape[-1] + 1, device=series.device)
    return (place * ~series.isnan().all(1)).amax(-1)


def extremes(series: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value `(B, C, 1)` of series `(B, C, n)` of these lengths."""
    inside = (torch.arange(series.shape[-1], device=series.device) < lengths[:, None])[:, None]
    low, high = (torch.where(inside, series, end) for end in (math.inf, -math.inf))
    return low.amin(-1, keepdim=True), high.amax(-1, keepdim=True)


def resample_each(series: Tensor, lengths: Tensor, size: int) -> Tensor:
    """What `resample` makes of each series alone: `(B, C, n)`, of these lengths, to `(B, C, size)`.

    The weights are those of `torch.nn.functional.interpolate` (bilinear, antialiased). A sample behind the end of a
    series is never read, and sums run in one order, so that the width of the batch does not change a bit.
    """
    n = lengths[:, None].to(series.dtype)
    scale = n / size
    reach = scale.clamp_min(1)
    centre = scale * (torch.arange(size, device=series.device) + 0.5)
    first = (centre - reach + 0.5).floor().clamp_min(0)
    total, weights = series.new_zeros(*series.shape[:2], size), torch.zeros_like(centre)
    # As many steps as the longest series needs; those beyond a shorter one's reach weigh nothing.
    for step in range(2 * math.ceil(max(series.shape[-1] / size, 1)) + 1):
        place = first + step
        weight = (1 - ((place - centre + 0.5) / reach).abs()).clamp_min(0) * (place < n)
        at = place.clamp(max=n - 1).long()[:, None].expand(-1, series.shape[1], -1)
        total = total + weight[:, None] * series.gather(2, at)
        weights = weights + weight
    return total / weights[:, None]


def samples_of(image_size: int | float | None, n: int) -> int:
    """The number of samples that `image_size` asks for: a count, a share of n (a float in (0, 1]), or None for n.

    Raises:
        UsageError: It is none of these.
    """
    if image_size is None:
        return n
    size = math.ceil(image_size * n) if isinstance(image_size, float) else image_size
    if not 1 <= size <= n or (isinstance(image_size, float) and not 0 < image_size <= 1):
        raise ParameterError(
            f"image_size = {image_size!r} does not fit a series of {counted(n, 'sample')}: expected 1 … "
            f"{n}, or a share in (0, 1]",
            instead={"image_size": n},
        )
    return size


def wide(series: Tensor) -> Tensor:
    """The series in float64, which costs nothing at its size; in float32 on Apple's GPUs, which have no float64."""
    return series.float() if series.device.type == "mps" else series.double()
