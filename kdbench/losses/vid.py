"""Variational information distillation: the teacher's maps as a Gaussian that the student predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.losses.maps import align_maps, chosen_stages
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Context


@loss("vid", on="stages", project=False)
class VariationalInformation(nn.Module):
    """Negative log-likelihood of the teacher's maps under a Gaussian with learnt mean and variance.

    `L = sum_l mean [ (t_c - mu_c(s))^2 / (2 v_c) + log(v_c) / 2 ]`, the mean over samples, channels c and positions;
    `v_c = softplus(a_c) + eps` is one learnt variance a channel, and mu three linear layers along the channels with
    ReLU between, as wide as the teacher's map (Ahn et al., CVPR 2019, eq. 5-6, whose constant is left out). The value
    may be negative. Unlike grids are aligned by `align_maps`.

    Args:
        context: Gives the widths of the stages.
        stages: Indices of the stages that are compared and summed; None for all.
        variance: Each channel's variance at the start.
        eps: Least variance.

    Raises:
        UsageError: `variance` is not larger than `eps`, `eps` is not positive, or a stage does not exist in both
            networks.
    """

    def __init__(
        self, context: Context, *, stages: Sequence[int] | None = None, variance: float = 5.0, eps: float = 1e-5
    ) -> None:
        super().__init__()
        if not 0 < eps < variance:
            raise ParameterError(
                f"vid: variance is {variance} and eps {eps}; expected variance > eps > 0", "variance", "eps"
            )
        ours, theirs = context.student.stages, context.teachers[0].stages
        self.stages = chosen_stages(stages, len(ours), len(theirs))
        self.eps = eps
        self.means = nn.ModuleList(_mean_of(ours[stage], theirs[stage]) for stage in self.stages)
        # The inverse of softplus, so that training begins at `variance`.
        start = variance - eps + math.log(-math.expm1(eps - variance))
        self.spreads = nn.ParameterList(torch.full((theirs[stage],), start) for stage in self.stages)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage; the teacher's are detached."""
        terms = []
        for stage, mean, spread in zip(self.stages, self.means, self.spreads, strict=True):
            own, target = (x.flatten(2) for x in align_maps(student[stage], teacher[stage].detach()))
            predicted = at_least_float32(mean(own.to(spread.dtype)))
            variance = F.softplus(spread) + self.eps
            squares = (predicted - target).square().mean((0, 2))
            terms.append((squares / variance + variance.log()).mean() / 2)
        return torch.stack(terms).sum()

    def diagnostics(self) -> dict[str, Tensor]:
        """The mean of the learnt variances over channels and stages, a scalar on the device."""
        variances = torch.cat([F.softplus(spread.detach()) for spread in self.spreads])
        return {"variance": variances.mean() + self.eps}


def _mean_of(ours: int, theirs: int) -> nn.Sequential:
    widths = (ours, theirs, theirs)
    layers = [layer for width in widths for layer in (nn.Conv1d(width, theirs, 1, bias=False), nn.ReLU())]
    # A mean may be negative: no ReLU at the end.
    return nn.Sequential(*layers[:-1])
