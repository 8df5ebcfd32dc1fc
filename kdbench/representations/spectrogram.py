"""Log-power spectrograms: which frequencies a series holds at which time."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.registry import representation
from kdbench.representations.base import Statistics
from kdbench.representations.images import ImageOfSeries, checked_choices
from kdbench.representations.length import wide

RANGES = ("trial", "dataset")


def power_spectrogram(series: Tensor, *, window: int = 32, hop: int = 4) -> Tensor:
    """Power of the short-time Fourier transform of every series, its mean taken off first.

        P_kt = |Σ_m (x_{t·hop+m} − x̄) w_m e^{−2πikm/window}|²,  w Hann's window

    The mean, gravity for an accelerometer, would outshine all else. Beyond its ends the series continues with its mean.
    A constant series has no power: zeros.

    Args:
        series: `(…, n)`, finite; integers become float64.
        window: Samples of a window; a frequency step is the sampling rate / window.
        hop: Samples between the centres of two windows.

    Returns:
        `(…, window // 2 + 1, n // hop + 1)`, in the dtype of `series`: frequency from 0 to half the sampling rate, then
        time.

    Raises:
        UsageError: A parameter out of its range.
    """
    checked(window, hop)
    dtype = series.dtype if series.is_floating_point() else torch.float64
    values = wide(series)
    # A mean of equal values is not always that value; the clamp keeps a constant series silent.
    mean = values.mean(-1, keepdim=True).clamp(values.amin(-1, keepdim=True), values.amax(-1, keepdim=True))
    rows = (values - mean).reshape(-1, values.shape[-1])
    shape = torch.hann_window(window, dtype=rows.dtype, device=rows.device)
    spectrum = torch.stft(rows, window, hop, window=shape, center=True, pad_mode="constant", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return power.to(dtype).view(*series.shape[:-1], *power.shape[-2:])


def checked(window: int, hop: int) -> None:
    """Raises `UsageError` where window or hop is out of its range."""
    for key, value, least in (("window", window, 2), ("hop", hop, 1)):
        if not isinstance(value, int) or value < least:
            raise ParameterError(
                f"the spectrogram's {key} = {value!r}: expected a whole number of samples, at least {least}", key
            )


@representation("spectrogram", modality="sensors")
class Spectrogram(ImageOfSeries):
    """Log-power spectrogram images, an axis a channel, normalised by the statistics of the encoder's pretraining.

    Decibels below the peak, from `−decibels` (0) to the peak (1), resized to S × S (bilinear, antialiased); row 0 is
    frequency 0. An axis without power is all 0.

    Window and hop count samples of the series as it enters the network. A recipe resamples every trial to
    `data.series_length` samples, so that a frequency in Hz differs from trial to trial with its duration, and none is
    named here.

    Args:
        channels: Axes of the sensor.
        statistics: See the base class.
        image_size: S.
        window: Samples of a window.
        hop: Samples between the centres of two windows.
        decibels: Depth of the scale below the peak.
        range: `trial` takes each axis's own peak, which throws amplitude away; `dataset` that of the training part.
    """

    peak: Tensor  # of each axis over the training part, in bels

    def __init__(
        self,
        channels: int,
        *,
        statistics: Statistics,
        image_size: int = 224,
        window: int = 32,
        hop: int = 4,
        decibels: float = 60.0,
        range: Literal["trial", "dataset"] = "trial",  # noqa: A002
    ) -> None:
        super().__init__(channels, statistics=statistics, image_size=image_size)
        checked_choices("spectrogram", {"range": (range, RANGES)})
        checked(window, hop)
        if not isinstance(decibels, int | float) or not 0 < decibels < float("inf"):
            raise ParameterError(f"the spectrogram's decibels = {decibels!r}: expected a positive number", "decibels")
        self.window, self.hop, self.decibels, self.range = window, hop, float(decibels), range
        self.register_buffer("peak", torch.zeros(channels, 1, 1))

    def fit(self, values: Tensor) -> None:
        """Takes the largest power of each axis over all of `values` (N, axes, n), for `range: dataset`."""
        # Axis by axis: all of the training part's spectrograms at once are many times its size.
        for axis in range(values.shape[1]):
            power = power_spectrogram(wide(values[:, axis]), window=self.window, hop=self.hop)
            self.peak[axis] = _bels(power.amax())

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """`(B, axes, n)` to `(B, axes, S, S)`, float32."""
        power = power_spectrogram(wide(x), window=self.window, hop=self.hop)
        peak = _bels(power.amax((-2, -1), keepdim=True)) if self.range == "trial" else self.peak
        level = 10 * (_bels(power) - peak)
        shade = torch.where(power > 0, (1 + level / self.decibels).clamp(0, 1), 0.0).to(self.gain.dtype)
        size = (self.image_size, self.image_size)
        return self.normalise(F.interpolate(shade, size=size, mode="bilinear", antialias=True))


def _bels(power: Tensor) -> Tensor:
    """log10, finite where there is no power."""
    return power.clamp_min(torch.finfo(power.dtype).tiny).log10()
