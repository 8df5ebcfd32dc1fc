"""Segment consensus (TSN; Wang et al., ECCV 2016)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from kdbench.errors import unknown_value
from kdbench.poolings.base import Pooling
from kdbench.poolings.checks import demand_share
from kdbench.registry import pooling

PLACES = ("frames", "mean")


@pooling("consensus")
class Consensus(Pooling):
    """Averages the class scores of the frames, before softmax.

    TSN gives each of S frames its scores `z_t = W dropout(x_t) + b` and averages them. The head is linear, so that the
    mean of the scores is the score of the mean, and the network's own head behind this pooling makes it:

        1/S Σ_t z_t = W h + b,  h = 1/S Σ_t dropout(x_t)

    The dropout of 0.5 is that of the released code, whose scripts take 0.7 or 0.8 for colour video. Not here: its
    narrow initial head, N(0, 0.001), and partial BatchNorm, which fixes the statistics of all layers but the first. A
    frame drawn from each segment in training is `segments` of the encoder `frames:NAME`.

    Args:
        width: D.
        dropout: Share of the entries that training drops.
        dropout_of: `frames` drops entries of each frame on its own, as TSN does; `mean` drops entries of h.

    Raises:
        UsageError: A share outside [0, 1), or an unknown place of the dropout.
    """

    sees_order = False

    def __init__(self, width: int, *, dropout: float = 0.5, dropout_of: Literal["frames", "mean"] = "frames") -> None:
        super().__init__(width)
        demand_share("consensus", dropout=dropout)
        if dropout_of not in PLACES:
            raise unknown_value("dropout_of", dropout_of, PLACES, of="consensus")
        self.dropout = nn.Dropout(dropout)
        self.dropout_of = dropout_of

    def forward(self, tokens: Tensor) -> Tensor:
        """See the base class."""
        if self.dropout_of == "frames":
            return self.dropout(tokens).mean(1)
        return self.dropout(tokens.mean(1))
