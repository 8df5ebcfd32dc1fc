"""What a network predicts, from the features of its heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.network.network import Network
from kdbench.types import Features


def class_scores(network: Network, branches: Sequence[Features]) -> Tensor:
    """Scores `(B, K)`, float32: the logits of the only branch, or what the fusion averages over all of them.

    That is the log of the mean of their softmax outputs, or the mean of their logits.
    """
    if len(branches) == 1:
        return branches[0].logits.float()
    if network.fusion.averages == "logits":
        return torch.stack([branch.logits.float() for branch in branches]).mean(0)
    # A class without any probability still needs a finite score.
    return network.probabilities(branches).clamp_min(1e-12).log()
