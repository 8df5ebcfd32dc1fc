"""Grad-CAM of a network's maps, by captum.

For class c with score y and the K channels A_k of the map (Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1 and 2):

    α_k = mean over the grid of ∂y/∂A_k,    L = ReLU(Σ_k α_k A_k)

The grid may have any number of axes: time for a series, two for an image, time first and two more for a clip.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdbench.network import Network

LAST = 3
"""The last stage, counted from 0."""


class ClassScores(nn.Module):
    """A network as the image classifier that captum expects: from its inputs to class scores `(B, K)`.

    The score of several branches is the logarithm of the mean of their softmax outputs, as in a prediction.
    """

    def __init__(self, network: Network, accelerator: Accelerator) -> None:
        super().__init__()
        self.network = network
        self._accelerator = accelerator

    def forward(self, *inputs: Tensor) -> Tensor:
        """Class scores of represented inputs, float32."""
        with self._accelerator.autocast():
            branches = self.network(inputs)
        if len(branches) == 1:
            return branches[0].logits.float()
        return self.network.probabilities(branches).clamp_min(1e-12).log()


def telling_stage(network: Network, inputs: Sequence[Tensor]) -> int:
    """The last stage, counted from 0, whose maps tell places of a picture apart; without pictures the last of all.

    Args:
        network: In eval mode.
        inputs: As in `grad_cam`.
    """
    grids: dict[int, list[tuple[int, ...]]] = {}
    hooks = [
        seen.register_forward_hook(
            lambda _module, _given, out, stage=stage: grids.setdefault(stage, []).append(out.shape[2:])
        )
        for stage in range(LAST + 1)
        for seen in network.seen(stage)
    ]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    telling = [stage for stage, held in grids.items() if all(len(grid) < 3 or min(grid[1:]) > 1 for grid in held)]
    return max(telling, default=LAST)


def grad_cam(
    network: Network, inputs: Sequence[Tensor], target: int, accelerator: Accelerator, stage: int = LAST
) -> list[Tensor]:
    """Which regions of the feature maps of a stage support a class.

    Args:
        network: In eval mode.
        inputs: One trial as `Network.represent` returns it, one tensor `(1, C, *size)` per source.
        target: The class.
        accelerator: Device and precision.
        stage: The stage, counted from 0.

    Returns:
        For each source the map `(*grid)` on the grid of that stage, not negative, float32, on the CPU. It is zero
        where no channel supports the class.
    """
    from captum.attr import LayerGradCam

    model = ClassScores(network, accelerator)
    given = tuple(x.detach().clone() for x in inputs)
    maps = []
    for seen in network.seen(stage):
        with warnings.catch_warnings(), torch.enable_grad():
            # captum says each time that it switches gradients of the inputs on.
            warnings.filterwarnings("ignore", message=".*required_grads.*")
            found = LayerGradCam(model, seen).attribute(given, target=target, relu_attributions=True)
        assert isinstance(found, Tensor)
        maps.append(found.detach()[0, 0].float().cpu())
    return maps


def agreement(first: Tensor, second: Tensor) -> float | None:
    """Spearman's rank correlation of two maps of one grid; None where one is constant."""
    from scipy.stats import spearmanr

    a, b = first.flatten().numpy(), second.flatten().numpy()
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
