"""Singular vectors of the maps."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.kdsvd import singular_vectors

SHAPES = ((3, 4, 6, 6), (3, 6, 3, 3), (3, 9, 2, 2))


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _of_sample(student: np.ndarray, teacher: np.ndarray, count: int, extra: int) -> tuple[np.ndarray, np.ndarray]:
    """Weighted vectors of one map `(C, positions)` of each network, by NumPy's decomposition."""
    _, strengths, targets = np.linalg.svd(teacher.T, full_matrices=False)
    directions = np.linalg.svd(student.T, full_matrices=False)[2][: count + extra]
    weights = strengths[:count] / np.linalg.norm(strengths[:count])
    found = []
    for target, weight in zip(targets[:count], weights, strict=True):
        target = target * np.sign(target[np.abs(target).argmax()])
        cosines = directions @ target
        best = np.abs(cosines).argmax()
        found.append((weight * np.sign(cosines[best]) * directions[best], weight * target))
    return tuple(np.stack(side, 1) for side in zip(*found, strict=True))


def _expected(student: list[Tensor], teacher: list[Tensor], count: int, extra: int = 3) -> float:
    total = 0.0
    for sample in range(len(student[0])):
        pairs = [
            _of_sample(s[sample].flatten(1).numpy(), t[sample].flatten(1).numpy(), count, extra)
            for s, t in zip(student, teacher, strict=True)
        ]
        for before, after in pairwise(pairs):
            radial = [np.exp(-((a[:, None] - b[None]) ** 2) / 8) for b, a in zip(before, after, strict=True)]
            total += ((radial[0] - radial[1]) ** 2).sum()
    return total / len(student[0])


@pytest.mark.parametrize(("count", "extra"), [(1, 3), (1, 0), (2, 1), (4, 3)])
def test_it_compares_the_radial_functions_of_consecutive_stages(count: int, extra: int) -> None:
    student, teacher = _maps(*SHAPES), _maps(*SHAPES, seed=1)
    value = singular_vectors(student, teacher, vectors=count, candidates=extra)
    assert value.item() == pytest.approx(_expected(student, teacher, count, extra), rel=1e-10)


def test_scale_of_a_sample_and_order_of_the_positions_have_no_effect() -> None:
    student, teacher = _maps(*SHAPES), _maps(*SHAPES, seed=1)
    value = singular_vectors(student, teacher)
    torch.testing.assert_close(singular_vectors([-3 * x.flip(3) for x in student], teacher), value)
    scaled = [x * torch.tensor([1e-9, 1.0, 1e9], dtype=x.dtype).view(-1, 1, 1, 1) for x in teacher]
    torch.testing.assert_close(singular_vectors(student, scaled), value)


def test_the_grids_need_not_agree_and_a_clip_is_averaged_over_time() -> None:
    clips, images = _maps((2, 3, 4, 5, 5), (2, 4, 2, 3, 3)), _maps((2, 3, 2, 2), (2, 4, 2, 2), seed=1)
    value = singular_vectors(clips, images)
    torch.testing.assert_close(singular_vectors([clip.mean(2) for clip in clips], images), value)
    assert singular_vectors(clips, _maps((2, 3, 9), (2, 4, 5), seed=1)) > 0


def test_fewer_vectors_are_compared_where_a_map_has_fewer() -> None:
    student, teacher = _maps((3, 4, 6), (3, 5, 1)), _maps((3, 4, 6), (3, 5, 1), seed=1)
    torch.testing.assert_close(singular_vectors(student, teacher, vectors=3), singular_vectors(student, teacher))


@pytest.mark.parametrize("count", [1, 2])
def test_the_gradient_is_the_slope(count: int) -> None:
    student, teacher = _maps((2, 3, 7), (2, 5, 3)), _maps((2, 3, 7), (2, 5, 3), seed=1)
    inputs = [x.requires_grad_() for x in student]
    torch.autograd.gradcheck(lambda *x: singular_vectors(x, teacher, vectors=count), inputs)


def test_equal_singular_values_and_silent_directions_have_a_finite_gradient() -> None:
    teacher = _maps((2, 4, 4), (2, 4, 4))
    for feature in (torch.eye(4).expand(2, 4, 4), torch.ones(2, 4, 4), torch.zeros(2, 4, 4)):
        student = [feature.double().clone().requires_grad_() for _ in range(2)]
        value = singular_vectors(student, teacher, vectors=2)
        value.backward()
        assert value.isfinite()
        assert all(x.grad is not None and x.grad.isfinite().all() for x in student)


def test_two_maps_of_zeros_agree() -> None:
    zeros = [torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)]
    assert singular_vectors(zeros, zeros) == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"vectors": 0}, "kdsvd: vectors is 0"),
        ({"candidates": -1}, "kdsvd: candidates is -1"),
        ({"stages": [1]}, "kdsvd: 1 stage is chosen"),
        ({"stages": [0, 3]}, "stage 3 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    student = _maps(*SHAPES)
    with pytest.raises(UsageError, match=message):
        singular_vectors(student, student, **params)


def test_unlike_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="kdsvd: the student has 3 channels, the teacher 5"):
        singular_vectors(_maps((2, 3, 4), (2, 3, 4)), _maps((2, 5, 4), (2, 3, 4)))
