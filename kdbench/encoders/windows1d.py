"""Windows of a series, each seen by two small convolutions: the sensor encoder of HAMLET and MuMu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from kdbench.encoders.base import Encoder
from kdbench.encoders.conv import NORMS, normalise
from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.registry import encoder


@encoder("windows1d", eats="series")
class Windows1d(Encoder):
    """Windows of w samples of a series `(B, axes, n)`, side by side; a token is a window, S = floor(n / w).

    Within a window: `ReLU(BN(1x1 convolution of the axes))`, then `ReLU(BN(3-wide convolution along its samples))`. A
    map holds a window's samples beside its channels, `(B, C w, S)`: a pooling's linear layer over a token `(C w,)` is
    the published one over the flattened window. Without a pooling, the embedding is the mean over the windows.

    Widths and window are those of METRO, the code of the first author of HAMLET (IROS 2020) and MuMu (AAAI 2022), where
    the linear layer of 128 and an LSTM over the windows follow: `{name: attention, hidden: 128}` is HAMLET's pooling,
    `{name: keyless, project: 128, lstm: 128}` MuMu's. Samples behind the last whole window are left out. Whether the
    3-wide convolution pads there was not at hand; here it does, so that a window keeps its w samples.

    Args:
        in_channels: Axes.
        window: w, samples of a window and of the step to the next one.
        widths: Channels behind the two convolutions.
        norm: `batch` over the batch, or `group` for each sample.
        dropout: Share of the embedding's entries that training drops, where no pooling takes its place.

    Raises:
        UsageError: A number out of range, or a series that is shorter than a window.
    """

    isotropic = True

    def __init__(
        self,
        in_channels: int,
        *,
        window: int = 5,
        widths: Sequence[int] = (32, 64),
        norm: Literal["group", "batch"] = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels)
        if len(widths) != 2 or any(width < 1 for width in widths):
            raise ParameterError(f"widths = {list(widths)}: expected two positive channel counts", "widths")
        if not isinstance(window, int) or window < 1:
            raise ParameterError(f"window = {window!r}: expected a whole number of samples, at least 1", "window")
        if norm not in NORMS:
            raise unknown_value("norm", norm, NORMS, of="a convolutional encoder")
        first, second = widths
        self.normalisation = "batch" if norm == "batch" else "sample"
        self.window = window
        self.channels = (first * window, second * window)
        self.width = second * window
        # The rows of an image are the samples of a window, its columns the windows, which are never mixed.
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, width, (rows, 1), padding=(rows // 2, 0)), normalise(norm, width, 2), nn.ReLU()
            )
            for before, width, rows in ((in_channels, first, 1), (first, second, 3))
        )
        self.dropout = nn.Dropout(dropout)

    def stem(self, x: Tensor) -> Tensor:
        """The series cut into windows, `(B, axes w, S)`.

        Raises:
            UsageError: It is shorter than a window.
        """
        count = x.shape[2] // self.window
        if count < 1:
            raise UsageError(
                f"windows1d has windows of {self.window} samples and got a series of {x.shape[2]}",
                hint=f"Resample to more: --set data.series_length={16 * self.window}",
            )
        return x[:, :, : count * self.window].unflatten(2, (count, self.window)).mT.flatten(1, 2)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self.stages[index](x.unflatten(1, (-1, self.window))).flatten(1, 2)

    def pool(self, last: Tensor) -> Tensor:
        """Mean over the windows, then dropout."""
        return self.dropout(last.mean(2))
