"""Teachers that train together with the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.engine.objective import Objective
from kdbench.network import Network
from kdbench.types import Batch, Features


@dataclass
class Peer:
    """A network that trains in the student's steps.

    What each of the two says to the other is a constant of the other's losses, as in deep mutual learning (Zhang et
    al., CVPR 2018): a loss moves the network that it belongs to.

    Attributes:
        name: The teacher's name in the recipe.
        network: The network.
        objective: Its losses, which may compare with the student.
    """

    name: str
    network: Network
    objective: Objective

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds of it."""
        return {f"peer.{self.name}": self.network, f"peer.{self.name}.objective": self.objective}


def features_of(network: Network, objectives: Sequence[Objective], batch: Batch, seed: int) -> list[Features]:
    """Features of a training batch, with those of the ablated inputs where one of some objectives reads them.

    Args:
        network: The network.
        objectives: Those that read its features.
        batch: The trials.
        seed: Seed of the ablated channels and of the dropped sources, where those are drawn.
    """
    inputs = network.represent(batch)
    # Only the pass that trains drops inputs; the ablated one starts from all of them.
    features = network(network.dropped(inputs, torch.Generator().manual_seed(seed)))
    asking = next((objective for objective in objectives if "ablated_logits" in objective.needs), None)
    if asking is not None:
        logits = network.ablated(inputs, mode=asking.ablation, generator=torch.Generator().manual_seed(seed))
        features = [branch.replace(ablated_logits=x) for branch, x in zip(features, logits, strict=True)]
    return features


def constant(features: Sequence[Features]) -> list[Features]:
    """The same features without their graph."""
    return [branch.mapped(Tensor.detach) for branch in features]
