"""Relational knowledge distillation: distances and angles between the samples of a batch."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import unknown_value
from kdbench.losses._ops import computed_by
from kdbench.losses._ops.angles import AngleLoss
from kdbench.losses.checks import check_samples
from kdbench.losses.distances import squared_distances
from kdbench.losses.numerics import precision_of, widest
from kdbench.registry import loss

_EPS = 1e-12


@loss("rkd", on="embedding", project=False)
def relational(
    student: Tensor,
    teacher: Tensor,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    squared: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Huber loss between the distances, and between the angles, that both networks see in a batch.

    `L = w_d mean_ij h(d_ij^s - d_ij^t) + w_a mean_ijk h(a_ijk^s - a_ijk^t)` with h the Huber function of width 1, d the
    Euclidean distance over its mean off the diagonal, and `a_ijk = <e_ij, e_ik>`, `e_ij` the unit vector from sample i
    to sample j (Park et al., CVPR 2019, eq. 5-10). The means run over all entries, degenerate ones included, and the
    weights are RepDistiller's, both as the released code has them. The widths of the networks need not agree.

    Both terms are functions of the squared distances alone (the angles by the law of cosines), so that memory is
    `B * B`, whatever the width. Samples that coincide have no direction: their distance is 1e-6, their
    angles are 0, and no gradient passes between them. A batch of one sample has no relations: 0.

    Args:
        student: Embeddings `(B, ...)`, flattened to `(B, D)`.
        teacher: Embeddings `(B, ...)`; detached.
        distance_weight: w_d; 0 leaves the term out.
        angle_weight: w_a; 0 leaves the term out.
        squared: Compare squared distances.
        reduction: `sum` puts sums in the place of the means.

    Raises:
        UsageError: A parameter has no such value, or the batches differ.
    """
    if reduction not in ("mean", "sum"):
        raise unknown_value("reduction", reduction, ("mean", "sum"), of="rkd")
    check_samples("rkd", student, teacher)
    precision = precision_of(student)
    relations = _relations(student, precision)
    with torch.no_grad():
        targets = _relations(teacher, precision)
    samples = len(student)
    total = student.new_zeros((), dtype=precision)
    if distance_weight:
        # Made once: it takes longer than to use it.
        pairs = torch.ones(samples, samples, dtype=torch.bool, device=student.device).fill_diagonal_(fill_value=False)
        seen, shown = (_distances(*each, pairs, squared=squared) for each in (relations, targets))
        distance = F.smooth_l1_loss(seen, shown, reduction=reduction)
        total = total + distance_weight * distance
    if angle_weight:
        angle = _angle_loss(_in_units(relations[0]), relations[1], _in_units(targets[0]), targets[1])
        total = total + angle_weight * (angle if reduction == "sum" else angle / samples**3)
    return total


def _relations(embedding: Tensor, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Squared distances `(B, B)`, and which pairs are two distinct samples."""
    distances = squared_distances(embedding.flatten(1), precision)
    between = widest(embedding.new_empty(0)).dtype
    # Squares carry the rounding of their product and, squared, that of the embeddings; below it two samples are one.
    rounding = max(32 * torch.finfo(between).eps, (100 * torch.finfo(precision).eps) ** 2)
    spread = distances.detach().mean(1)
    floor = (rounding * (spread[:, None] + spread)).clamp_min(_EPS)
    return distances, distances.detach() > floor


def _distances(squares: Tensor, distinct: Tensor, pairs: Tensor, *, squared: bool) -> Tensor:
    """Distances over their mean off the diagonal; coinciding samples are `sqrt(_EPS)` apart."""
    # A constant in their place: the root of 0 has no gradient.
    values = squares.where(distinct, _EPS)
    values = values if squared else values.sqrt()
    samples = len(values)
    values = values.where(pairs, 0)
    mean = values.sum() / max(samples * (samples - 1), 1)
    return values / mean.clamp_min(torch.finfo(values.dtype).tiny)


def _in_units(squares: Tensor) -> Tensor:
    """Squared distances in units of their mean, which no angle depends on."""
    return squares / squares.detach().mean().clamp_min(torch.finfo(squares.dtype).tiny)


@computed_by(AngleLoss)
def _angle_loss(squares: Tensor, distinct: Tensor, of_teacher: Tensor, distinct_of_teacher: Tensor) -> Tensor:
    """Sum of `h(a_ijk^s - a_ijk^t)`."""
    angles = (_angles(squares, distinct), _angles(of_teacher, distinct_of_teacher))
    return F.smooth_l1_loss(*angles, reduction="sum")


def _angles(squares: Tensor, distinct: Tensor) -> Tensor:
    """Cosines `(B, B, B)` by the law of cosines, `a_ijk = (D_ij + D_ik - D_jk) / (2 d_ij d_ik)`."""
    inverse = squares.where(distinct, 1).rsqrt().where(distinct, 0)
    return (squares[:, :, None] + squares[:, None] - squares) * inverse[:, :, None] * inverse[:, None] / 2
