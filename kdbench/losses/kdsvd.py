"""Singular vectors of the maps: how the main directions of one stage's channels relate to the next one's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kdbench.errors import ParameterError
from kdbench.losses.checks import check_positive
from kdbench.losses.maps import check_channels, stage_pairs, without_time
from kdbench.losses.numerics import at_least_float32, precision_of, unit, widest, without_autocast
from kdbench.registry import loss
from kdbench.text.wording import counted, inflected

_SILENT = 1e-12
"""A direction whose share of the largest squared singular value is below this is rounding."""
_NEAR = 1e-6
"""Squared singular values that differ by less than this share of the largest turn into each other without gradient."""


@loss("kdsvd", on="stages", labels="unused", compiles=False)
def singular_vectors(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    vectors: int = 1,
    candidates: int = 3,
    stages: Sequence[int] | None = None,
) -> Tensor:
    """Squared difference of radial basis functions of the leading singular vectors of consecutive stages.

    A sample's map is the matrix `(positions, C)`. `v_i` is its i-th right singular vector, multiplied by the i-th entry
    of `(s_1 ... s_k) / ||(s_1 ... s_k)||_2`, s the teacher's singular values. Of the student's first `k + candidates`
    vectors, the one of the largest absolute cosine stands for the teacher's i-th, with its sign. All channels c of a
    stage are related to all channels d of the one before by `R_cdi = exp(-(v_i^l+1(c) - v_i^l(d))^2 / 8)`, and
    `L = sum_l 1/B sum (R_s - R_t)^2` (Lee, Kim and Song, ECCV 2018, as RepDistiller has it; the authors' own code has
    half of the sum times the root of k). The grids of student and teacher need not agree; a clip against an image is
    averaged over its time.

    A singular vector's sign is arbitrary and the value depends on it: the teacher's are turned so that the largest
    entry is positive, where other code takes what its library returns. Directions without any response are zero.
    Singular vectors are undefined where singular values are equal: there the gradient is damped. They are computed in
    float64, from the smaller of the two Gram matrices, and a device is waited for.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's, with as many channels; detached.
        vectors: k, at least 1; fewer are compared where a map has fewer channels or positions.
        candidates: How many more of the student's vectors may stand for one of the teacher's.
        stages: Indices of the stages, at least two; None for all.

    Raises:
        UsageError: A parameter has no such value, fewer than two stages are chosen or one does not exist in both
            networks, or channels differ.
    """
    check_positive("kdsvd", vectors=vectors)
    if candidates < 0:
        raise ParameterError(f"kdsvd: candidates is {candidates}, expected 0 or more", "candidates")
    found = []
    for maps in stage_pairs(student, teacher, stages):
        own, target = (at_least_float32(feature).flatten(2) for feature in without_time(*maps))
        check_channels("kdsvd", own, target)
        directions, strengths = _singular(target, vectors)
        # A singular vector has no sign of its own.
        directions = directions * _sign_of_largest(directions)
        found.append((_aligned(_singular(own, vectors + candidates)[0], directions), directions, strengths))
    if len(found) < 2:
        raise ParameterError(
            f"kdsvd: {counted(len(found), 'stage')} {inflected(len(found), 'is')} chosen; stages are compared with the "
            "one before, expected two",
            instead={"stages": [-2, -1]},
        )
    terms = []
    for before, after in pairwise(found):
        count = min(before[1].shape[2], after[1].shape[2])
        (own_before, target_before), (own_after, target_after) = (_weighted(*each, count) for each in (before, after))
        # 1 - R keeps the digits that R, which is close to 1, would lose.
        difference = _one_minus_radial(own_after, own_before) - _one_minus_radial(target_after, target_before)
        terms.append(difference.square().sum() / len(difference))
    return torch.stack(terms).sum().to(precision_of(student[0]))


def _singular(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Leading right singular vectors `(B, C, count)` of maps `(B, C, positions)`, and the singular values `(B, count)`.

    The gradient of an eigenvector is that of its expansion to the first order around the matrix.
    """
    largest = rows.detach().abs().amax((1, 2), keepdim=True)
    rows = widest(rows / largest.where(largest > 0, 1))
    by_position = rows.shape[2] < rows.shape[1]
    with without_autocast(rows):
        gram = rows.mT @ rows if by_position else rows @ rows.mT
        fixed = gram.detach()
        squares, basis = (result.flip(-1) for result in torch.linalg.eigh(fixed))
        heard = squares > _SILENT * squares[:, :1]
        leading = basis[:, :, :count]
        # The gradient of eigh divides by gaps between eigenvalues. The term below is 0 in value and has that gradient,
        # damped where two eigenvalues nearly meet.
        gaps = squares[:, None, :count] - squares[:, :, None]
        damped = gaps.square() + (_NEAR * squares[:, :1, None]).square()
        turns = gaps / damped.where(damped > 0, 1)
        leading = leading + basis @ (turns * (basis.mT @ (gram - fixed) @ leading))
        # From directions over the positions to those over the channels.
        if by_position:
            leading = unit(rows @ leading, 1)
    return leading.where(heard[:, None, :count], 0), squares[:, :count].where(heard[:, :count], 0).sqrt()


def _sign_of_largest(directions: Tensor) -> Tensor:
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return torch.where(largest < 0, -1.0, 1.0).to(directions.dtype)


def _aligned(directions: Tensor, targets: Tensor) -> Tensor:
    """For each of the targets the direction of the largest absolute cosine, with its sign."""
    cosines = directions.detach().mT @ targets
    best = cosines.abs().argmax(1, keepdim=True)
    sign = torch.where(cosines.gather(1, best) < 0, -1.0, 1.0).to(directions.dtype)
    return directions.gather(2, best.expand(-1, directions.shape[1], -1)) * sign


def _weighted(own: Tensor, target: Tensor, strengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    weights = unit(strengths[:, None, :count], 2)
    return own[:, :, :count] * weights, target[:, :, :count] * weights


def _one_minus_radial(after: Tensor, before: Tensor) -> Tensor:
    """`1 - exp(-(a_c - b_d)^2 / 8)` of all pairs of channels and each vector, `(B, C, C', count)`."""
    return -torch.expm1(-(after[:, :, None] - before[:, None]).square() / 8)
