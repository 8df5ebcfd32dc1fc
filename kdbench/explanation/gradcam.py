"""Grad-CAM of a network's maps.

For class c with score y and the K channels A_k of the map (Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1 and 2):

    α_k = mean over the grid of ∂y/∂A_k,    L = ReLU(Σ_k α_k A_k)

The grid may have any number of axes: time for a series, two for an image, time first and two more for a clip.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from kdbench.network import Network
from kdbench.network.scores import class_scores


def telling_stage(network: Network, inputs: Sequence[Tensor]) -> int:
    """The last stage, counted from 0, whose maps tell places of a picture apart; without pictures the last of all.

    Args:
        network: In eval mode.
        inputs: As in `grad_cam`.
    """
    with torch.no_grad(), _maps_of(network) as stages:
        network(inputs)
    telling = [
        stage for stage in range(network.depth) if all(x.dim() < 5 or min(x.shape[3:]) > 1 for x in _at(stages, stage))
    ]
    return max(telling, default=network.depth - 1)


def grad_cam(
    network: Network, inputs: Sequence[Tensor], target: int, accelerator: Accelerator, stage: int | None = None
) -> list[Tensor]:
    """Which regions of the feature maps of a stage support a class.

    Args:
        network: In eval mode.
        inputs: One trial as `Network.represent` returns it, one tensor `(1, C, *size)` per source.
        target: The class.
        accelerator: Device and precision.
        stage: The stage, counted from 0; of an encoder that has fewer, its last. None: the last.

    Returns:
        For each source the map `(*grid)` on the grid of that stage, not negative, float32, on the CPU. It is zero
        where no channel supports the class.
    """
    with torch.enable_grad(), _maps_of(network) as stages:
        with accelerator.autocast():
            # Through the input, the maps have a graph even where no weight has a gradient.
            branches = network([x.detach().clone().requires_grad_() for x in inputs])
        score = class_scores(network, branches)[0, target]
        maps = _at(stages, network.depth - 1 if stage is None else stage)
        gradients = torch.autograd.grad(score, maps)
    cams = []
    for x, gradient in zip(maps, gradients, strict=True):
        weights = gradient.mean(tuple(range(2, x.dim())), keepdim=True)
        cams.append((weights * x.detach()).sum(1).relu()[0].float().cpu())
    return cams


def _at(branches: Sequence[Sequence[Tensor]], stage: int) -> list[Tensor]:
    """Each branch's map of a stage; of a branch that has fewer, its last."""
    return [maps[min(stage, len(maps) - 1)] for maps in branches]


@contextlib.contextmanager
def _maps_of(network: Network) -> Iterator[list[list[Tensor]]]:
    """The maps of each branch, one per stage, that the network makes inside the block."""
    branches: list[list[Tensor]] = [[] for _ in network.branches]
    hooks = [
        seen.register_forward_hook(lambda _module, _inputs, out, maps=maps: maps.append(out))
        for stage in range(network.depth)
        for maps, seen in zip(branches, network.seen(stage), strict=True)
    ]
    try:
        yield branches
    finally:
        for hook in hooks:
            hook.remove()


def agreement(first: Tensor, second: Tensor) -> float | None:
    """Spearman's rank correlation of two maps of one grid; None where one is constant."""
    from scipy.stats import spearmanr

    a, b = first.flatten().numpy(), second.flatten().numpy()
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
