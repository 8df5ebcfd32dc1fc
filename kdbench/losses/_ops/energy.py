"""Energy of maps over their channels, without tensors of the maps' size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdbench.losses.numerics import power_of_two, precision_of


class Energy(torch.autograd.Function):
    """Sum of squares over the channels, over the square of a power of two near a sample's largest norm above 1.

    It is what autograd does, without tensors of the map's size but the gradient.
    """

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(feature, dim=1, keepdim=True, dtype=precision_of(feature))
        scale = power_of_two(norm.flatten(1).amax(1)).clamp_min_(1).view(-1, *[1] * (feature.dim() - 1))
        ctx.save_for_backward(feature, scale)
        # Out of place: under torch.compile, torch 2.11 gives a result that was changed in place no gradient.
        return norm.div_(scale).square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        feature, scale = ctx.saved_tensors
        return feature * (2 * grads[0] / scale.square()).to(feature.dtype)
