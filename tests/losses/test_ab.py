"""Activation boundaries."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.ab import activation_boundaries


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _squares(student: Tensor, teacher: Tensor, margin: float) -> np.ndarray:
    """The authors' two cases, entry by entry."""
    found = np.zeros(student.numel())
    for place, (own, target) in enumerate(zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)):
        if target > 0 and own <= margin:
            found[place] = (own - margin) ** 2
        elif target <= 0 and own > -margin:
            found[place] = (own + margin) ** 2
    return found


@pytest.mark.parametrize(("margin", "grid"), [*product([0.5, 1.0], [(7,), (3, 4), (2, 3, 2)])])
def test_it_is_the_squared_distance_to_the_teachers_side_of_the_margin(margin: float, grid: tuple[int, ...]) -> None:
    (student,), (teacher,) = _maps((3, 4, *grid)), _maps((3, 4, *grid), seed=1)
    squares = _squares(student, teacher, margin)
    value = activation_boundaries([student], [teacher], margin=margin)
    assert value.item() == pytest.approx(squares.sum() / 3, rel=1e-12)
    value = activation_boundaries([student], [teacher], margin=margin, reduction="mean")
    assert value.item() == pytest.approx(squares.mean(), rel=1e-12)


def test_a_response_of_zero_is_inactive() -> None:
    student = [torch.tensor([[[-2.0, 0.5]]])]
    assert activation_boundaries(student, [torch.zeros(1, 1, 2)]).item() == pytest.approx(1.5**2)


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_an_earlier_stage_counts_by_the_decay(decay: float) -> None:
    shapes = ((2, 3, 4), (2, 5, 2), (2, 2, 3))
    student, teacher = _maps(*shapes), _maps(*shapes, seed=1)
    each = [activation_boundaries(student, teacher, stages=[stage]) for stage in range(3)]
    expected = sum(decay ** (2 - stage) * value for stage, value in enumerate(each))
    torch.testing.assert_close(activation_boundaries(student, teacher, decay=decay), expected)


def test_the_gradient_is_the_slope() -> None:
    (student,), teacher = _maps((2, 2, 3)), _maps((2, 2, 3), seed=1)
    torch.autograd.gradcheck(lambda x: activation_boundaries([x], teacher), student.requires_grad_())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"margin": 0}, "ab: margin is 0"),
        ({"decay": -1}, "ab: decay is -1"),
        ({"reduction": "means"}, "did you mean 'mean'"),
        ({"stages": [1]}, "stage 1 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    student = _maps((2, 3, 4))
    with pytest.raises(UsageError, match=message):
        activation_boundaries(student, student, **params)


def test_unlike_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="ab: the student has 3 channels, the teacher 5"):
        activation_boundaries(_maps((2, 3, 4)), _maps((2, 5, 4)))
