"""Attention transfer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError, unknown_value
from kdbench.losses._ops import computed_by
from kdbench.losses._ops.energy import Energy
from kdbench.losses.maps import align_maps, stage_pairs
from kdbench.losses.numerics import at_least_float32, power_of_two
from kdbench.registry import loss


@loss("at", on="stages", project=False)
def attention_transfer(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    p: float = 2,
    stages: Sequence[int] | None = None,
    form: Literal["code", "paper"] = "code",
    align: Literal["attention", "features"] = "attention",
) -> Tensor:
    """Difference of where both networks look: their maps' energy over the channels.

    `Q = mean_c |F_c|^p`, flattened and divided by its L2 norm, then `L = sum_l mean (Q_s^l - Q_t^l)^2`, the mean over
    samples and positions (Zagoruyko and Komodakis, ICLR 2017, as their code has it). Eq. 2 of the paper has the
    unsquared norm of the difference, `sum_l 1/B sum_b ||Q_s,b^l - Q_t,b^l||_2`; its factor 1/2 belongs to the weight.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's; detached.
        p: The power, at least 1.
        stages: Indices of the stages that are compared and summed; None for all.
        form: `code` or `paper`.
        align: Where grids differ, `attention` brings the attention maps to one grid (a clip's attention is averaged
            over time); `features` does it with the maps before the power, as RepDistiller does.

    Raises:
        UsageError: A parameter has no such value, or a stage does not exist in both networks.
    """
    if p < 1:
        raise ParameterError(f"at: p is {p}, expected a number of at least 1", "p")
    if form not in ("code", "paper"):
        raise unknown_value("form", form, ("code", "paper"), of="at")
    if align not in ("attention", "features"):
        raise unknown_value("align", align, ("attention", "features"), of="at")
    terms = []
    for maps in stage_pairs(student, teacher, stages):
        if align == "features":
            of_student, of_teacher = (_attention(feature, p) for feature in align_maps(*maps))
        else:
            of_student, of_teacher = align_maps(*(_attention(feature, p) for feature in maps))
        difference = F.normalize(of_student.flatten(1)) - F.normalize(of_teacher.flatten(1))
        if form == "paper":
            terms.append(torch.linalg.vector_norm(difference, dim=1).mean())
        else:
            terms.append(difference.square().mean())
    return torch.stack(terms).sum()


def _attention(feature: Tensor, p: float) -> Tensor:
    """Energy of a sample up to its scale, which its norm takes away again; large maps are divided by theirs."""
    if p == 2:
        return _energy(feature) / feature.shape[1]
    magnitude = at_least_float32(feature).abs()
    scale = power_of_two(magnitude.detach().flatten(1).amax(1)).clamp_min(1)
    return (magnitude / scale.view(-1, *[1] * (feature.dim() - 1))).pow(p).mean(1, keepdim=True)


@computed_by(Energy)
def _energy(feature: Tensor) -> Tensor:
    """Sum of squares over the channels, over the square of a power of two near a sample's largest norm above 1."""
    feature = at_least_float32(feature)
    largest = torch.linalg.vector_norm(feature.detach(), dim=1).flatten(1).amax(1)
    scale = power_of_two(largest).clamp_min(1).view(-1, *[1] * (feature.dim() - 1))
    return (feature / scale).square().sum(1, keepdim=True)
