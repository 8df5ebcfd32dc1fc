"""Maxima of small windows without overlap, faster on a CPU than torch's pooling."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class WindowMax(torch.autograd.Function):
    """Maxima of windows without overlap, as torch's pooling gives them; faster on a CPU for small windows.

    The gradient goes to the first maximum of a window, in the order of its positions.
    """

    @staticmethod
    def forward(ctx: Any, feature: Tensor, window: tuple[int, ...]) -> Tensor:
        ctx.window = window
        top = functools.reduce(torch.maximum, _shifts(feature, window))
        ctx.save_for_backward(feature, top)
        return top

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        feature, top = ctx.saved_tensors
        gradient, (left,) = torch.empty_like(feature), grads
        for values, into in zip(_shifts(feature, ctx.window), _shifts(gradient, ctx.window), strict=True):
            # What is taken is gone: of equal maxima the first one gets the gradient, as in torch's pooling.
            taken = left * (values == top)
            into.copy_(taken)
            left = left - taken
        return gradient, None


def _shifts(feature: Tensor, window: tuple[int, ...]) -> list[Tensor]:
    """Views `(B, C, *grid)` of every position within a window."""
    indices: Iterator[tuple[Any, ...]] = itertools.product(
        *([slice(first, None, size) for first in range(size)] for size in window)
    )
    return [feature[(..., *index)] for index in indices]
