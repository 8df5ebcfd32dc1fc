"""LSTM layers over a sequence, as encoders and poolings share them."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """A stack of LSTM layers (Hochreiter and Schmidhuber, 1997) that start from zero.

    They differ from `nn.LSTM` of several layers in three ways. They run in the precision of their weights inside
    autocast too, as not every CPU has a bfloat16 LSTM. The dropout between layers draws from torch's global generator,
    and not from a state of cuDNN's own, which would make a run depend on what the process did before. And a gradient
    comes back in eval mode too, which cuDNN refuses.

    Args:
        width: D, the width of a token.
        hidden: H of each direction.
        layers: LSTM layers.
        bidirectional: Whether each layer reads the sequence backwards too.
        dropout: Share of the entries between two layers that training drops.

    Attributes:
        out_width: H, or 2H of two directions.
    """

    def __init__(
        self, width: int, hidden: int, *, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.out_width = hidden * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            nn.LSTM(inputs, hidden, batch_first=True, bidirectional=bidirectional)
            for inputs in (width, *[self.out_width] * (layers - 1))
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the layers.

        Args:
            tokens: `(B, S, D)` in the order of time.

        Returns:
            The outputs of the last layer `(B, S, out_width)`, and where each of its directions ends `(B, out_width)`.
        """
        last = tokens
        for number, layer in enumerate(self.layers):
            tokens, last = self._run(layer, self.dropout(tokens) if number else tokens)
        return tokens, last

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _run(self, layer: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
        backward_in_eval = torch.is_grad_enabled() and not self.training
        kernels = torch.backends.cudnn.flags(enabled=False) if backward_in_eval else contextlib.nullcontext()
        with torch.autocast(tokens.device.type, enabled=False), kernels:
            outputs, (ends, _) = layer(tokens.to(next(layer.parameters()).dtype))
        # The ends come by direction first.
        return outputs, ends.transpose(0, 1).flatten(1)
