"""A plain net of three convolutions over a series, as MMAct's teachers are recalled to be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from kdbench.encoders.base import Encoder
from kdbench.encoders.conv import NORMS, normalise
from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.registry import encoder


@encoder("cnn1d", eats="series")
class Cnn1d(Encoder):
    """Convolutions over a series `(B, axes, n)`, each with a norm, ReLU and max-pooling by 2; three stages by default.

    `F_k = MaxPool_2(ReLU(BN(W_k * F_(k-1) + b_k)))`, grids n/2, n/4, n/8 (rounded down); the embedding is the mean of
    the last map over time. Widths and kernel are those that the teachers of SMD, MMD and MMAD (Kong et al., MMAct, ICCV
    2019) are recalled to have; the paper's code is not public. It gives as many maps as it has widths, so that losses
    and fusions that ask for four stages refuse it.

    Args:
        in_channels: Axes.
        widths: Channels of each stage.
        kernel: Samples that a filter spans, odd.
        norm: `batch` over the batch, or `group` for each sample.
        dropout: Share of the embedding's entries that training drops.

    Raises:
        UsageError: A number out of range, or a series of fewer samples than one is left of.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        widths: Sequence[int] = (64, 128, 256),
        kernel: int = 5,
        norm: Literal["group", "batch"] = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels)
        if not 1 <= len(widths) <= 4 or any(width < 1 for width in widths):
            raise ParameterError(
                f"widths = {list(widths)}: expected one to four positive channel counts, one per stage", "widths"
            )
        if not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
            raise ParameterError(f"kernel = {kernel!r}: expected an odd number of samples", "kernel")
        if norm not in NORMS:
            raise unknown_value("norm", norm, NORMS, of="a convolutional encoder")
        self.normalisation = "batch" if norm == "batch" else "sample"
        self.channels = tuple(widths)
        self.width = widths[-1]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(before, width, kernel, padding=kernel // 2),
                normalise(norm, width, 1),
                nn.ReLU(),
                nn.MaxPool1d(2),
            )
            for before, width in pairwise((in_channels, *widths))
        )
        self.dropout = nn.Dropout(dropout)

    def stem(self, x: Tensor) -> Tensor:
        """The series as it is.

        Raises:
            UsageError: Nothing would be left of it.
        """
        least = 2 ** len(self.channels)
        if x.shape[2] < least:
            raise UsageError(
                f"cnn1d needs series of {least} samples or more and got {x.shape[2]}",
                hint=f"Resample to more: --set data.series_length={8 * least}",
            )
        return x

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self.stages[index](x)

    def pool(self, last: Tensor) -> Tensor:
        """Mean over time, then dropout."""
        return self.dropout(last.mean(2))
