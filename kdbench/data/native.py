"""Series of trials at their native lengths: end to end on the device, and as batches that are padded with NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class NativeSeries:
    """The series of one sensor, of trials of unlike lengths.

    Kept end to end, so that one long trial does not make every other one as long as itself.

    Args:
        series: Samples of each trial `(n, axes)`.
        device: Where they are kept.

    Attributes:
        end_to_end: All of them, one after the other `(1, axes, total)`, float32.
    """

    def __init__(self, series: Sequence[np.ndarray], device: torch.device) -> None:
        joined = np.ascontiguousarray(np.concatenate(series).T, dtype=np.float32)
        self.end_to_end = torch.from_numpy(joined)[None].to(device)
        self._counts = np.array([len(one) for one in series])
        self._lengths = torch.from_numpy(self._counts).to(device)
        self._starts = torch.from_numpy(np.cumsum(self._counts) - self._counts).to(device)

    def rows(self, places: np.ndarray, index: Tensor) -> Tensor:
        """Some of the trials `(B, axes, longest of them)`, with NaN behind the end of each shorter one.

        Args:
            places: Which, on the host.
            index: The same on the device.
        """
        step = torch.arange(int(self._counts[places].max()), device=index.device)
        inside = step < self._lengths.index_select(0, index)[:, None]
        # Behind its end a trial would read the next one, and the last trial nothing.
        place = (self._starts.index_select(0, index)[:, None] + step).clamp(max=self.end_to_end.shape[-1] - 1)
        values = self.end_to_end[0].index_select(1, place.flatten()).unflatten(1, place.shape).transpose(0, 1)
        return torch.where(inside[:, None], values, torch.nan)


def pad(series: Tensor, width: int) -> Tensor:
    """A series `(…, n)` with NaN behind its end, `(…, width)`."""
    return torch.nn.functional.pad(series, (0, width - series.shape[-1]), value=torch.nan)
