"""DeepConvLSTM over a series (Ordóñez and Roggen, Sensors 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.encoders.base import Encoder, demand_at_least
from kdbench.errors import UsageError
from kdbench.layers.recurrent import Recurrent
from kdbench.registry import encoder

STAGES = 4


@encoder("deep_conv_lstm", eats="series")
class DeepConvLstm(Encoder):
    """Four convolutions along time, then an LSTM, over a series `(B, axes, n)`; the embedding is where the LSTM ends.

    Each convolution is a stage: its filters run along each axis of the sensor on its own, without padding, and a ReLU
    follows. The map of stage i is `(B, filters·axes, n - i·(kernel - 1))`. A token is the LSTM's output at a step.

    Sizes and layers are those of the authors' notebook, whose input are windows of 24 samples. Weights start orthogonal
    and biases at zero, and the embedding is dropped by half, as in the PyTorch code of the same laboratory. That code
    has one-dimensional convolutions, which mix the axes, and no ReLU; this one follows the notebook.

    Args:
        in_channels: Axes of the sensor.
        filters: Filters of each convolution.
        kernel: Samples that a filter spans.
        lstm: Hidden width of each LSTM layer.
        layers: LSTM layers.
        dropout: Share of the embedding's entries that training drops.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        filters: int = 64,
        kernel: int = 5,
        lstm: int = 128,
        layers: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(in_channels)
        demand_at_least(1, filters=filters, lstm=lstm, layers=layers)
        demand_at_least(2, kernel=kernel)
        self.channels = (filters * in_channels,) * STAGES
        self.width = lstm
        self.kernel = kernel
        # The axes are the rows of an image, and kernels are one row high: convolutions never mix them.
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, filters, (1, kernel)) for inputs in (1, filters, filters, filters)
        )
        self.recurrent = Recurrent(filters * in_channels, lstm, layers=layers)
        self.dropout = nn.Dropout(dropout)
        for name, parameter in self.named_parameters():
            nn.init.zeros_(parameter) if "bias" in name else nn.init.orthogonal_(parameter)

    @property
    def token_width(self) -> int:
        """Hidden width of the LSTM."""
        return self.width

    def stem(self, x: Tensor) -> Tensor:
        """The series as it is.

        Raises:
            UsageError: It is shorter than what the convolutions span.
        """
        least = STAGES * (self.kernel - 1) + 1
        if x.shape[2] < least:
            raise UsageError(
                f"deep_conv_lstm needs series of {least} samples or more and got {x.shape[2]}",
                hint=f"Resample to more: --set data.series_length={8 * least}",
            )
        return x

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self.convolutions[index](x.unflatten(1, (-1, self.in_channels))).relu().flatten(1, 2)

    def pool(self, last: Tensor) -> Tensor:
        """Where the LSTM ends, then dropout."""
        _, end = self.recurrent(last.mT)
        return self.dropout(end)

    def tokens(self, last: Tensor) -> Tensor:
        """The LSTM's outputs `(B, S, lstm)`."""
        outputs, _ = self.recurrent(last.mT)
        return outputs
