"""Precision of the losses: where more than the network's precision is needed, and how it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

_SHORTEST = 1e-12


def precision_of(values: Tensor) -> torch.dtype:
    """The precision of a loss of these values: float64 for float64, float32 for all else."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def at_least_float32(values: Tensor) -> Tensor:
    """Casts half precision up to float32 and leaves float32 and float64 as they are."""
    return values.to(precision_of(values))


def widest(values: Tensor) -> Tensor:
    """Casts to float64, or to float32 on a device that has no float64.

    Meant for matrices as small as a batch, where subtractions cancel most of the digits.
    """
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def without_autocast(values: Tensor) -> torch.autocast:
    """A context in which matrix products keep the precision of their operands, on the device of `values`."""
    return torch.autocast(values.device.type, enabled=False)


def unit(values: Tensor, dim: int) -> Tensor:
    """Vectors along `dim` over their L2 norm; one shorter than 1e-12 has no direction: zero, without gradient."""
    norm = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    # Over infinity, the value and its gradient are 0, where a small number would blow both up.
    return values / norm.where(norm > _SHORTEST, torch.inf)


def power_of_two(values: Tensor) -> Tensor:
    """The power of two just below each of some positive numbers, 1 for zero: division by it rounds nothing."""
    return torch.exp2(torch.log2(values).floor()).where(values > 0, 1)


def gram(rows: Tensor) -> Tensor:
    """Inner products of all pairs of rows, `(B, D)` to `(B, B)`, in the rows' own precision also under autocast.

    Its gradient takes one matrix product, where that of `rows @ rows.T` takes two.
    """
    with without_autocast(rows):
        products = rows @ rows.detach().T
    # One factor alone has a graph: the transpose adds the other half of the gradient, and the last term
    # takes the doubled value back.
    return products + products.T - products.detach() if products.requires_grad else products
