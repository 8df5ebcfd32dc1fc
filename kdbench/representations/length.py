"""Other numbers of samples: a series averaged over windows, or resampled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import UsageError
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
    return F.interpolate(series[:, :, None], size=(1, size), mode="bilinear", antialias=True)[:, :, 0]


def samples_of(image_size: int | float | None, n: int) -> int:
    """The number of samples that `image_size` asks for: a count, a share of n (a float in (0, 1]), or None for n.

    Raises:
        UsageError: It is none of these.
    """
    if image_size is None:
        return n
    size = math.ceil(image_size * n) if isinstance(image_size, float) else image_size
    if not 1 <= size <= n or (isinstance(image_size, float) and not 0 < image_size <= 1):
        raise UsageError(
            f"image_size = {image_size!r} does not fit a series of {counted(n, 'sample')}: expected 1 … "
            f"{n}, or a share in (0, 1]"
        )
    return size


def wide(series: Tensor) -> Tensor:
    """The series in float64, which costs nothing at its size; in float32 on Apple's GPUs, which have no float64."""
    return series.float() if series.device.type == "mps" else series.double()
