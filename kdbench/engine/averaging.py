"""The weights of a network in training, averaged over its last steps."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average(nn.Module):
    """An exponential moving average of weights and running statistics (Polyak & Juditsky, 1992).

    After step t it is `decay · average + (1 - decay) · weights`; the first step's weights begin it.

    Args:
        network: The network in training.
        decay: Share of the average that stays at a step; it covers about the last `1 / (1 - decay)` steps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        # Statistics of a normalisation belong to the weights: those of the last step alone would not fit the average.
        self.model = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.model.requires_grad_(requires_grad=False)

    @property
    def network(self) -> nn.Module:
        """A network of the averaged weights, of the class of the one in training."""
        return self.model.module

    def update(self, network: nn.Module) -> None:
        """Takes in the weights after a step."""
        self.model.update_parameters(network)
