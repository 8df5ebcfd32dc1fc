"""Masked generative distillation: the teacher's map is generated from a part of the student's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError, unknown_value
from kdbench.losses.draws import priorities
from kdbench.losses.layers import Convolution
from kdbench.losses.maps import align_maps, check_channels, chosen_stages, meeting_axes
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Batch, Context

_MASKS, _REDUCTIONS = ("channel", "position"), ("sum", "mean")
_RANGE = 2**32


@loss("mgd", on="stages", labels="unused")
class MaskedGeneration(nn.Module):
    """Squared difference of the teacher's maps and those that a generator makes of the masked ones of the student.

    `L = sum_l 1/B sum (t - G(M r(s)))^2`, the sum over all entries of a sample: r is the learnt linear along the
    channels that stands on the student's side where the widths differ, M the mask, and G two convolutions with ReLU
    between (Yang et al., ECCV 2022; mask, sum and generator of their code for classification). The 3x3 convolutions
    have three taps along each axis of the grid on which the maps meet. Of the channels of a sample (`mask="channel"`,
    with ratio 0.15 for classification) or of its positions (`position`, with 0.65 or 0.45 for detection), each is
    masked by chance, anew in every call. The draws come from a counter and the trials' positions in the training part,
    so that they touch no global random state and do not depend on the order of the batch.

    Args:
        context: Gives the widths of the teacher's stages.
        stages: Indices of the stages that are compared and summed; None for all. The last one by default.
        ratio: Chance that a channel or a position is masked, in [0, 1).
        mask: `channel` or `position`.
        reduction: `sum` over the entries of a sample, mean over the samples; or `mean` over all entries.

    Raises:
        UsageError: A parameter has no such value, a stage does not exist in both networks, or channels differ.
    """

    calls: Tensor

    def __init__(
        self,
        context: Context,
        *,
        stages: Sequence[int] | None = (-1,),
        ratio: float = 0.15,
        mask: Literal["channel", "position"] = "channel",
        reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        if not 0 <= ratio < 1:
            raise ParameterError(f"mgd: ratio is {ratio}, expected a number in [0, 1)", "ratio")
        if mask not in _MASKS:
            raise unknown_value("mask", mask, _MASKS, of="mgd")
        if reduction not in _REDUCTIONS:
            raise unknown_value("reduction", reduction, _REDUCTIONS, of="mgd")
        widths = context.teachers[0].stages
        self.stages = chosen_stages(stages, len(context.student.stages), len(widths))
        # Whole numbers compare alike on every device.
        self.threshold = int(ratio * _RANGE)
        self.by_channel = mask == "channel"
        self.reduction = reduction
        axes = meeting_axes(context.student, context.teachers[0])
        self.generators = nn.ModuleList(_generator(widths[stage], axes) for stage in self.stages)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage; the teacher's are detached."""
        terms = []
        for stage, generator in zip(self.stages, self.generators, strict=True):
            own, target = align_maps(student[stage], teacher[stage].detach())
            check_channels("mgd", own, target)
            generated = at_least_float32(generator(own * self._mask(own, batch.index)))
            squares = (generated - target).square()
            terms.append(squares.mean() if self.reduction == "mean" else squares.sum() / len(squares))
        return torch.stack(terms).sum()

    def _mask(self, feature: Tensor, index: Tensor) -> Tensor:
        """0 for what is masked and 1 elsewhere, `(B, C, 1, …)` or `(B, 1, *grid)`."""
        shape = (feature.shape[1], *[1] * (feature.dim() - 2)) if self.by_channel else (1, *feature.shape[2:])
        drawn = priorities(self.calls, index, math.prod(shape))
        self.calls += 1
        return (drawn >= self.threshold).to(feature.dtype).view(-1, *shape)


def _generator(width: int, axes: int) -> nn.Sequential:
    first, second = (Convolution(width, width, axes=axes, bias=True) for _ in range(2))
    return nn.Sequential(first, nn.ReLU(), second)
