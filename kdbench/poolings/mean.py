"""The mean over time."""

from __future__ import annotations

from torch import Tensor

from kdbench.poolings.base import Pooling
from kdbench.registry import pooling


@pooling("mean")
class Mean(Pooling):
    """`h = 1/S Σ_t x_t`.

    Args:
        width: D.
    """

    sees_order = False

    def forward(self, tokens: Tensor) -> Tensor:
        """See the base class."""
        return tokens.mean(1)
