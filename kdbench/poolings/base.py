"""What a pooling is: a branch's last map, as a sequence over time, to its embedding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn


class Pooling(nn.Module, ABC):
    """Takes the place of an encoder's own pooling.

    Subclasses take the width of a token and their own keyword parameters, which recipes set. A sequence may have any
    length from one token on.

    Args:
        width: D, the width of a token.

    Attributes:
        out_width: Width of the embedding.
        normalisation: As of an encoder: `batch` where BatchNorm ties a row to its batch while the network trains.
        sees_order: Whether the tokens in another order give another embedding.
    """

    out_width: int
    normalisation: Literal["batch", "sample"] = "sample"
    sees_order: bool = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.out_width = width

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `(B, S, D)`, in the order of time, to embeddings `(B, out_width)`; rows do not see one another."""
