"""Random choices of a loss that touch no global random state: a hash of a counter and of the trials' positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BITS = 0xFFFFFFFF
_FACTOR = 0x45D9F3B


def priorities(counter: Tensor, rows: Tensor, columns: int) -> Tensor:
    """Pseudo-random whole numbers, one for each row and column.

    The largest of a row are a random choice of its columns. They depend on the counter and on the row's own number,
    not on its place in the batch, and are the same on every device.

    Args:
        counter: How often was drawn so far, int64 scalar on the device.
        rows: A number for each row `(B,)`, int64: the position of the anchor in the training part.
        columns: M, the number of columns.

    Returns:
        `(B, M)`, int64 in [0, 2^32).
    """
    keys = _mixed(_mixed(counter) + rows)
    return _mixed(keys[:, None] ^ _mixed(torch.arange(columns, device=rows.device)))


def normals(counter: Tensor, rows: Tensor, columns: int) -> Tensor:
    """Pseudo-random numbers of the standard normal distribution, by the transform of Box and Muller.

    Args:
        counter: How often was drawn so far, int64 scalar on the device.
        rows: A number for each row `(B,)`, int64: the position of the trial in the training part.
        columns: M, the numbers of a row.

    Returns:
        `(B, M)`, float32.
    """
    drawn = priorities(counter, rows, 2 * columns).view(len(rows), 2, columns)
    # From the middles of the steps: a length of 0 has no logarithm.
    lengths, turns = (((half.to(torch.float32) + 0.5) / (_BITS + 1)) for half in drawn.unbind(1))
    return (-2 * lengths.log()).sqrt() * (2 * math.pi * turns).cos()


def _mixed(values: Tensor) -> Tensor:
    """A 32-bit hash: products stay below 2^63, so that nothing wraps around."""
    # 2^32 over the golden ratio: without it, 0 would stay 0 below.
    values = (values + 0x9E3779B9) & _BITS
    for _ in range(2):
        values = ((values ^ (values >> 16)) * _FACTOR) & _BITS
    return values ^ (values >> 16)
