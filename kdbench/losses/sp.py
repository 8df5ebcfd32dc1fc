"""Similarity-preserving distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.losses.maps import stage_pairs
from kdbench.losses.numerics import at_least_float32, gram, power_of_two
from kdbench.registry import loss


@loss("sp", on="stages", project=False)
def similarity_preserving(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, stages: Sequence[int] | None = (-1,)
) -> Tensor:
    """Squared difference of the similarities that both networks see between the samples of a batch.

    `L = 1/B^2 sum_l ||G_t^l - G_s^l||_F^2`, where G is `Q Q^T` of the flattened maps Q `(B, C * grid)` with each
    row divided by its L2 norm (Tung and Mori, ICCV 2019, eq. 1-4). The networks need no common grid or width.
    torchdistill divides the rows by their L1 norm instead, which is another loss.

    Args:
        student: The student's maps `(B, C, *grid)`, one per stage.
        teacher: The teacher's; detached.
        stages: Indices of the stages that are compared and summed; None for all. The last one by default.

    Raises:
        UsageError: A stage does not exist in both networks.
    """
    terms = [
        (_similarity(of_student) - _similarity(of_teacher)).square().mean()
        for of_student, of_teacher in stage_pairs(student, teacher, stages)
    ]
    return torch.stack(terms).sum()


def _similarity(feature: Tensor) -> Tensor:
    rows = at_least_float32(feature).flatten(1)
    # The scale of a batch has no effect: without it, the products stay in range.
    products = gram(rows / power_of_two(rows.detach().abs().amax()))
    # A sample whose map is zero has no direction: its row stays zero and gets no gradient.
    norm = torch.linalg.vector_norm(products, dim=1, keepdim=True)
    return torch.where(norm > 0, products / norm.where(norm > 0, 1), 0)
