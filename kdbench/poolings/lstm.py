"""Where an LSTM ends, or the mean of its outputs."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from kdbench.errors import unknown_value
from kdbench.layers.recurrent import Recurrent
from kdbench.poolings.base import Pooling
from kdbench.poolings.checks import demand_positive, demand_share
from kdbench.registry import pooling

READS = ("last", "mean")


@pooling("lstm")
class Lstm(Pooling):
    """`h = dropout(h_S)` or `dropout(1/S Σ_t h_t)`, with the outputs h_t of an LSTM over the tokens.

    As the layer behind a network of frames it is the LSTM of Ng et al. (Beyond Short Snippets, CVPR 2015), which has
    five layers of 512 and weighs the classes of all steps; HAMLET without its attention reads the last step. The
    defaults are a choice: one layer of 128, as wide as HAMLET's.

    Args:
        width: D.
        hidden: H of each direction.
        layers: LSTM layers.
        bidirectional: Whether the LSTM reads the sequence backwards too.
        read: `last`, where each direction ends; or the `mean` over time.
        dropout: Share of the entries that training drops: between layers, and of h.

    Raises:
        UsageError: A width or number of layers below 1, a share outside [0, 1), or an unknown `read`.
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        read: Literal["last", "mean"] = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width)
        demand_positive("lstm", hidden=hidden, layers=layers)
        demand_share("lstm", dropout=dropout)
        if read not in READS:
            raise unknown_value("read", read, READS, of="lstm")
        self.recurrent = Recurrent(width, hidden, layers=layers, bidirectional=bidirectional, dropout=dropout)
        self.out_width = self.recurrent.out_width
        self.read = read
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the base class."""
        outputs, last = self.recurrent(tokens)
        return self.dropout(last if self.read == "last" else outputs.mean(1))
