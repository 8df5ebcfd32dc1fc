"""The pooling `part_name`."""

from __future__ import annotations

import torch
from kdbench import pooling
from kdbench.poolings.base import Pooling
from torch import Tensor, nn


@pooling("part_name")
class PartName(Pooling):
    """A mean over time that learns whether the beginning or the end counts for more.

    `h = sum_t w_t x_t` with `w = softmax over t of a * t / (S - 1)`, t = 0 … S - 1; a = 0 is the plain mean. Where the
    order of the tokens does not matter, say `sees_order = False`.

    Args:
        width: Entries of a token; a pooling that makes a wider or narrower embedding sets `self.out_width`.
        slope: The value from which a is learnt. A recipe sets it: `pooling: {name: part_name, slope: 0.5}`.
    """

    def __init__(self, width: int, *, slope: float = 0.0) -> None:
        super().__init__(width)
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `(B, S, width)`, in the order of time, to `(B, width)`."""
        steps = torch.linspace(0, 1, tokens.shape[1], device=tokens.device)
        weights = (self.slope * steps).softmax(dim=0)
        return (weights[:, None] * tokens).sum(dim=1)
