"""Orthogonal projection of the embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import CLASSES, context
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.vkd import OrthogonalProjection
from kdbench.types import Context, Widths


def _vkd(ours: int = 6, theirs: int = 9, **params: Any) -> OrthogonalProjection:
    torch.manual_seed(0)
    student, teacher = (Widths(CLASSES, (4, 4, 4, width), width) for width in (ours, theirs))
    return OrthogonalProjection(Context(CLASSES, student, (teacher,)), **params).double()


def _rows(width: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(5, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_it_is_the_smooth_distance_to_the_normalised_embedding(beta: float) -> None:
    loss, student, teacher = _vkd(beta=beta), _rows(6), _rows(9, seed=1)
    target = teacher.numpy()
    target = (target - target.mean(1, keepdims=True)) / np.sqrt(target.var(1, keepdims=True) + 1e-5)
    size = np.abs(student.numpy() @ loss.projection().detach().numpy().T - target)
    expected = np.where(size < beta, size**2 / (2 * beta), size - beta / 2).mean()
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(6, 9), (9, 6), (6, 6), (1, 4), (1, 1)])
def test_the_projection_stays_orthogonal_while_it_learns(ours: int, theirs: int) -> None:
    loss, student, teacher = _vkd(ours, theirs), _rows(ours), _rows(theirs, seed=1)
    before = loss.projection().detach().clone()
    optimizer = torch.optim.AdamW(loss.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    weight = loss.projection().detach()
    products = weight.mT @ weight if theirs >= ours else weight @ weight.mT
    torch.testing.assert_close(products, torch.eye(min(ours, theirs), dtype=weight.dtype))
    assert max(ours, theirs) == 1 or (weight - before).abs().max() > 0.1


def test_distances_of_the_student_are_kept_by_a_wider_teacher() -> None:
    student = _rows(6)
    projected = student @ _vkd().projection().detach().T
    torch.testing.assert_close(torch.cdist(projected, projected), torch.cdist(student, student))


def test_weight_decay_has_no_effect_on_the_projection() -> None:
    loss = _vkd()
    before = loss.projection().detach()
    with torch.no_grad():
        loss.frame.mul_(0.3)
    torch.testing.assert_close(loss.projection().detach(), before)


def test_scale_and_shift_of_the_teachers_embedding_have_no_effect() -> None:
    loss, student, teacher = _vkd(eps=1e-15), _rows(6), _rows(9, seed=1)
    torch.testing.assert_close(loss(student, 3 * teacher - 7), loss(student, teacher))


def test_a_flat_embedding_is_compared_as_zeros() -> None:
    loss, student = _vkd(), _rows(6)
    flat = torch.full((5, 9), 1e3, dtype=torch.float64)
    expected = torch.nn.functional.smooth_l1_loss(student @ loss.projection().T, torch.zeros_like(flat))
    torch.testing.assert_close(loss(student, flat), expected)


def test_the_gradient_is_the_slope() -> None:
    loss, teacher = _vkd(), _rows(9, seed=1)
    torch.autograd.gradcheck(lambda x: loss(x, teacher), _rows(6).requires_grad_())


@pytest.mark.parametrize("params", [{"beta": 0}, {"eps": 0}])
def test_a_parameter_that_is_not_positive_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"vkd: {next(iter(params))} is 0"):
        OrthogonalProjection(context(), **params)


def test_unlike_batches_are_refused() -> None:
    with pytest.raises(UsageError, match="vkd: the student has 4 samples, the teacher 5"):
        _vkd()(_rows(6)[:4], _rows(9))
