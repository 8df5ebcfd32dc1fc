"""Similarity-preserving distillation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.sp import similarity_preserving


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_rows_are_divided_by_their_euclidean_norm() -> None:
    student = [torch.tensor([[3.0, 0.0], [4.0, 0.0]], dtype=torch.float64)]
    teacher = [torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)]
    # G_s = [[9, 12], [12, 16]] has rows (0.6, 0.8); G_t is the identity.
    expected = 2 * (0.4**2 + 0.8**2) / 4 * 0.5 + 2 * (0.6**2 + 0.2**2) / 4 * 0.5
    assert similarity_preserving(student, teacher).item() == pytest.approx(expected)


def test_scale_and_rotation_of_the_features_have_no_effect() -> None:
    (student,), (teacher,) = _maps((5, 6)), _maps((5, 9), seed=1)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    value = similarity_preserving([student], [teacher])
    assert value > 1e-3
    torch.testing.assert_close(similarity_preserving([7 * student @ rotation], [teacher / 3]), value)


def test_stages_are_summed_and_the_last_is_the_default() -> None:
    student, teacher = _maps((4, 2, 3), (4, 5, 2, 2)), _maps((4, 3, 7), (4, 8), seed=1)
    first, last = (similarity_preserving(student, teacher, stages=[stage]) for stage in (0, 1))
    torch.testing.assert_close(similarity_preserving(student, teacher, stages=None), first + last)
    torch.testing.assert_close(similarity_preserving(student, teacher), last)


def test_a_zero_map_gets_a_bounded_gradient() -> None:
    (student,), teacher = _maps((3, 4, 2, 2)), _maps((3, 4, 2, 2), seed=1)
    student[0] = 0
    student.requires_grad_()
    similarity_preserving([student], teacher).backward()
    assert student.grad.abs().max() < 10
    assert student.grad[1:].abs().max() > 0


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="stage 2 is asked for"):
        similarity_preserving(_maps((3, 4)), _maps((3, 4)), stages=[2])
