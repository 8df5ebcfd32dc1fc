"""Normalisation of embeddings inside a fusion."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import unknown_value

NORMS = ("batch", "layer")


class RowBatchNorm(nn.BatchNorm1d):
    """BatchNorm of rows `(B, D)`; a batch of one, which has no spread, is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """`(B, D)` to `(B, D)`."""
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def activated(width: int, norm: str, dropout: float, owner: str) -> nn.Sequential:
    """Normalisation, ReLU and dropout of rows `(B, width)`.

    Args:
        width: Entries of a row.
        norm: `batch` over the rows of the batch, or `layer` over the entries of each row.
        dropout: Share of the entries that training drops.
        owner: The fusion, for messages.

    Raises:
        UsageError: An unknown norm.
    """
    if norm not in NORMS:
        raise unknown_value("norm", norm, NORMS, of=owner)
    layer = RowBatchNorm(width) if norm == "batch" else nn.LayerNorm(width)
    return nn.Sequential(layer, nn.ReLU(), nn.Dropout(dropout))
