"""Channel-wise distillation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.cwd import channel_wise


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return powers / powers.sum()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("grid", [(7,), (3, 4), (2, 3, 2)])
def test_it_is_the_divergence_of_each_channels_softmax_over_its_positions(
    grid: tuple[int, ...], temperature: float
) -> None:
    student, teacher = _maps((3, 4, *grid)), _maps((3, 4, *grid), seed=1)
    terms = []
    for own, target in zip(student[0].flatten(2).numpy(), teacher[0].flatten(2).numpy(), strict=True):
        for s, t in zip(own, target, strict=True):
            p, q = _softmax(t / temperature), _softmax(s / temperature)
            terms.append(temperature**2 * (p * np.log(p / q)).sum())
    value = channel_wise(student, teacher, temperature=temperature)
    assert value.item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_a_constant_that_is_added_to_a_channel_has_no_effect() -> None:
    student, teacher = _maps((2, 3, 4, 4)), _maps((2, 3, 4, 4), seed=1)
    shift = torch.tensor([3.0, -2.0, 0.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(channel_wise([student[0] + shift], teacher), channel_wise(student, teacher))


def test_stages_are_summed_and_one_position_says_nothing() -> None:
    shapes = ((2, 3, 4), (2, 5, 2), (2, 2, 1))
    student, teacher = _maps(*shapes), _maps(*shapes, seed=1)
    first, second, last = (channel_wise(student, teacher, stages=[stage]) for stage in range(3))
    torch.testing.assert_close(channel_wise(student, teacher), first + second)
    assert last == 0


def test_unlike_grids_are_aligned_first() -> None:
    student, teacher = _maps((2, 3, 5, 4, 4)), _maps((2, 3, 2, 2), seed=1)
    pooled = [torch.nn.functional.avg_pool2d(student[0].mean(2), 2)]
    torch.testing.assert_close(channel_wise(student, teacher), channel_wise(pooled, teacher))


def test_the_gradient_is_the_slope() -> None:
    (student,), teacher = _maps((2, 2, 3)), _maps((2, 2, 3), seed=1)
    torch.autograd.gradcheck(lambda x: channel_wise([x], teacher), student.requires_grad_())


def test_bad_requests_are_refused() -> None:
    student, teacher = _maps((2, 3, 4)), _maps((2, 5, 4))
    with pytest.raises(UsageError, match="cwd: the student has 3 channels, the teacher 5"):
        channel_wise(student, teacher)
    with pytest.raises(UsageError, match="cwd: temperature is 0"):
        channel_wise(student, student, temperature=0)
    with pytest.raises(UsageError, match="stage 1 is asked for"):
        channel_wise(student, student, stages=[1])
