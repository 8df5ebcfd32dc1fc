"""Multi-head self-attention over time (HAMLET; Islam and Iqbal, IROS 2020)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from kdbench.errors import unknown_value
from kdbench.layers.heads import demand_divisor
from kdbench.layers.recurrent import Recurrent
from kdbench.poolings.base import Pooling
from kdbench.poolings.checks import demand_positive, demand_share
from kdbench.registry import pooling

JOINS = ("sum", "mean")


@pooling("attention")
class Attention(Pooling):
    """HAMLET's temporal attention of one modality (UAT): an LSTM, self-attention over its outputs, a sum over time.

        X = dropout(ReLU(W x_t + b)),  H = LSTM(X),  Y = MultiHead(H, H, H)
        h = dropout(ReLU(Σ_t Y_t))

    The layers and the defaults are those of METRO, code of the paper's first author, for video. For sensors it has no
    ReLU and no dropout before the LSTM, 5 samples a token, and drops 0.1 of h. Its mask of padded steps is not needed
    here, where every sequence is whole.

    Args:
        width: D.
        hidden: d, of the linear layer, of each direction of the LSTM, and of the embedding of one direction.
        layers: LSTM layers.
        bidirectional: Whether the LSTM reads the sequence backwards too.
        heads: Attention heads.
        join: `sum` over time, as in the paper, or `mean`, which does not grow with the length.
        relu: Whether a ReLU follows the sum.
        dropout: Share of the entries that training drops: before each LSTM layer, and of h.
        attention_dropout: Share of the attention weights that training drops.

    Raises:
        UsageError: A width or number below 1, heads that do not divide the width, an unknown join, or a share outside
            [0, 1).
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: int = 128,
        layers: int = 2,
        bidirectional: bool = False,
        heads: int = 2,
        join: Literal["sum", "mean"] = "sum",
        relu: bool = True,
        dropout: float = 0.4,
        attention_dropout: float = 0.4,
    ) -> None:
        super().__init__(width)
        demand_positive("attention", hidden=hidden, layers=layers, heads=heads)
        demand_share("attention", dropout=dropout, attention_dropout=attention_dropout)
        if join not in JOINS:
            raise unknown_value("join", join, JOINS, of="attention")
        self.projection = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.recurrent = Recurrent(hidden, hidden, layers=layers, bidirectional=bidirectional, dropout=dropout)
        self.out_width = self.recurrent.out_width
        demand_divisor("attention", heads, self.out_width)
        self.attention = nn.MultiheadAttention(self.out_width, heads, dropout=attention_dropout, batch_first=True)
        self.join = join
        self.last = nn.Sequential(nn.ReLU() if relu else nn.Identity(), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> Tensor:
        """See the base class."""
        states, _ = self.recurrent(self.projection(tokens))
        attended, _ = self.attention(states, states, states, need_weights=False)
        return self.last(attended.sum(1) if self.join == "sum" else attended.mean(1))
