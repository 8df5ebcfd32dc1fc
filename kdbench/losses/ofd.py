"""Overhaul of feature distillation: margin ReLU and a partial squared distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import unknown_value
from kdbench.losses.checks import check_positive
from kdbench.losses.layers import MapNorm, Pointwise
from kdbench.losses.maps import align_maps, chosen_stages
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Context

_MARGINS, _REDUCTIONS = ("running", "batch"), ("sum", "mean")


@loss("ofd", on="stages", project=False, labels="unused", frozen_teacher=True)
class Overhaul(nn.Module):
    """Squared distance to the teacher's maps above a margin, but where both networks have nothing positive to say.

    `L = sum_l decay^(L-l) 1/B sum d(max(t, m_c), r(s))`, with `d(t, s) = 0` where `s <= t <= 0` and `(t - s)^2`
    elsewhere. The margin `m_c <= 0` is the mean of channel c's negative responses, and r a linear along the channels
    with BatchNorm, learnt on the student's side (Heo et al., ICCV 2019; the factor 1/1000 of their code belongs to the
    weight).

    The authors compute the margin from the scale and shift of the BatchNorm before the teacher's ReLU, as of a normal
    distribution. A teacher here need not have one, so that the margin is measured on the maps that are compared: over
    all batches so far, or over this one alone, as Knowledge-Distillation-Zoo does, which also takes the mean over all
    entries (`reduction="mean"`). A channel without negative responses has the margin 0. For a batch of one with maps of
    one position, which has no spread, BatchNorm takes the running statistics.

    Args:
        context: Gives the widths of the stages.
        stages: Indices of the stages that are compared; None for all.
        decay: Weight of a stage over that of the next chosen one, positive.
        margin: `running`, the mean over all batches so far, or `batch`.
        reduction: Over the entries of a sample, `sum` or `mean`; the mean over the samples.

    Raises:
        UsageError: A parameter has no such value, or a stage does not exist in both networks.
    """

    def __init__(
        self,
        context: Context,
        *,
        stages: Sequence[int] | None = None,
        decay: float = 0.5,
        margin: Literal["running", "batch"] = "running",
        reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        check_positive("ofd", decay=decay)
        if margin not in _MARGINS:
            raise unknown_value("margin", margin, _MARGINS, of="ofd")
        if reduction not in _REDUCTIONS:
            raise unknown_value("reduction", reduction, _REDUCTIONS, of="ofd")
        ours, theirs = context.student.stages, context.teachers[0].stages
        self.stages = chosen_stages(stages, len(ours), len(theirs))
        self.decay = decay
        self.running = margin == "running"
        self.reduction = reduction
        self.connectors = nn.ModuleList(_connector(ours[stage], theirs[stage]) for stage in self.stages)
        self.negatives = nn.ModuleList(_Negatives(theirs[stage]) for stage in self.stages)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage; the teacher's are detached."""
        total: Tensor | None = None
        for stage, connector, negatives in zip(self.stages, self.connectors, self.negatives, strict=True):
            own, target = align_maps(student[stage], teacher[stage].detach())
            own = at_least_float32(connector(own))
            margin = negatives(target, self.running)
            target = torch.maximum(target, margin.view(-1, *[1] * (target.dim() - 2)))
            squares = (own - target).square().where((own > target) | (target > 0), 0)
            term = squares.mean() if self.reduction == "mean" else squares.sum() / len(own)
            total = term if total is None else self.decay * total + term
        assert total is not None
        return total


class _Negatives(nn.Module):
    """The mean of each channel's negative responses, 0 where there is none, and its memory."""

    mean: Tensor
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("count", torch.zeros(width, dtype=torch.int64))

    @torch.no_grad()
    def forward(self, target: Tensor, running: bool) -> Tensor:
        """`(B, C, *grid)` to `(C,)`."""
        axes = (0, *range(2, target.dim()))
        found = (target < 0).sum(axes)
        total = target.clamp_max(0).sum(axes)
        if not running:
            return total / found.clamp_min(1)
        count = self.count + found
        mean = self.mean + (total - found * self.mean) / count.clamp_min(1)
        self.count.copy_(count)
        self.mean.copy_(mean)
        return mean


def _connector(ours: int, theirs: int) -> nn.Sequential:
    linear = Pointwise(ours, theirs)
    nn.init.kaiming_normal_(linear.weight, mode="fan_out")
    return nn.Sequential(linear, MapNorm(theirs))
