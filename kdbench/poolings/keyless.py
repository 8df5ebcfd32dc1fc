"""Keyless attention over time (Long et al., AAAI 2018)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import unknown_value
from kdbench.layers.recurrent import Recurrent
from kdbench.poolings.base import Pooling
from kdbench.poolings.checks import demand_effect, demand_positive, demand_share
from kdbench.registry import pooling

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


@pooling("keyless")
class Keyless(Pooling):
    """Weighs the tokens by a score that each has of its own, without query or key.

    With x_t, a token as the layers below leave it:

        α = softmax over t of wᵀ x_t,  h = Σ_t α_t x_t

    Before it stand a linear layer with an activation (`project`) and an LSTM (`lstm`), each of which null leaves out.
    The authors' code is not public. The layers are those of PaddlePaddle's `attention_lstm`: linear and tanh (512
    there), a bidirectional LSTM (1024 a direction there) and dropout of its outputs; the widths here are a choice. In
    it the score has a bias, which the softmax takes away.

    MuMu's (Islam and Iqbal, AAAI 2022) is `{project: 128, activation: relu, dropout_projected: 0.4, lstm: 128,
    layers: 2, bidirectional: false, dropout_layers: 0.4, dropout: 0}`; the ReLU and the dropout that follow it are
    those of the fusion `guided`.

    Args:
        width: D.
        project: Width of the linear layer, or null.
        activation: `tanh` or `relu`, behind the linear layer.
        dropout_projected: Share of the linear layer's outputs that training drops.
        lstm: Hidden width of each direction of the LSTM, or null.
        layers: LSTM layers.
        bidirectional: Whether the LSTM reads the sequence backwards too.
        dropout_layers: Share of the entries between two LSTM layers that training drops.
        dropout: Share of the entries of x_t that training drops before they are scored.

    Raises:
        UsageError: A width or number of layers below 1, a share outside [0, 1), an unknown activation, or a parameter
            of a layer that is left out.
    """

    def __init__(
        self,
        width: int,
        *,
        project: int | None = 256,
        activation: Literal["tanh", "relu"] = "tanh",
        dropout_projected: float = 0.0,
        lstm: int | None = 128,
        layers: int = 1,
        bidirectional: bool = True,
        dropout_layers: float = 0.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(width)
        demand_share("keyless", dropout_projected=dropout_projected, dropout_layers=dropout_layers, dropout=dropout)
        if activation not in ACTIVATIONS:
            raise unknown_value("activation", activation, ACTIVATIONS, of="keyless")
        self.projection: nn.Module = nn.Identity()
        if project is not None:
            demand_positive("keyless", project=project)
            self.projection = nn.Sequential(
                nn.Linear(width, project), ACTIVATIONS[activation](), nn.Dropout(dropout_projected)
            )
            width = project
        else:
            demand_effect(
                "keyless", "without project", activation=activation != "tanh", dropout_projected=dropout_projected > 0
            )
        self.recurrent: Recurrent | None = None
        if lstm is not None:
            demand_positive("keyless", lstm=lstm, layers=layers)
            self.recurrent = Recurrent(width, lstm, layers=layers, bidirectional=bidirectional, dropout=dropout_layers)
            width = self.recurrent.out_width
        else:
            demand_effect("keyless", "without lstm", layers=layers != 1, bidirectional=not bidirectional)
        if lstm is None or layers == 1:
            demand_effect("keyless", "without a second layer of the lstm", dropout_layers=dropout_layers > 0)
        self.sees_order = lstm is not None
        self.out_width = width
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the base class."""
        x = self.projection(tokens)
        if self.recurrent is not None:
            x, _ = self.recurrent(x)
        x = self.dropout(x)
        scores = self.score(x)
        # In half precision, many small weights would no longer sum to one.
        weights = scores.softmax(1, dtype=torch.promote_types(scores.dtype, torch.float32))
        return (weights.to(x.dtype) * x).sum(1)
