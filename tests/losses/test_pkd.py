"""Pearson correlation of the channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.pkd import pearson


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("grid", [(7,), (3, 4), (2, 3, 2)])
def test_it_is_one_minus_the_correlation_of_the_channels(grid: tuple[int, ...]) -> None:
    student, teacher = _maps((3, 4, *grid)), _maps((3, 4, *grid), seed=1)
    channels = zip(*(x[0].transpose(0, 1).flatten(1).numpy() for x in (student, teacher)), strict=True)
    correlations = [np.corrcoef(own, target)[0, 1] for own, target in channels]
    count = student[0][:, 0].numel()
    # The deviations are unbiased and the mean over the entries is not.
    expected = (1 - np.mean(correlations)) * (count - 1) / count
    assert pearson(student, teacher, eps=1e-15).item() == pytest.approx(expected, rel=1e-12)


def test_scale_and_shift_of_a_channel_have_no_effect() -> None:
    student, teacher = _maps((2, 3, 4, 4)), _maps((2, 3, 4, 4), seed=1)
    scale, shift = (torch.tensor(x, dtype=torch.float64)[:, None, None] for x in ([3.0, 0.2, 7.0], [3.0, -2.0, 0.0]))
    value = pearson(student, teacher, eps=1e-15)
    torch.testing.assert_close(pearson([scale * student[0] + shift], teacher, eps=1e-15), value)


def test_eps_stands_beside_the_deviation() -> None:
    student, teacher = _maps((2, 1, 5)), _maps((2, 1, 5), seed=1)
    own, target = ((x[0] - x[0].mean()) / (x[0].std() + 0.5) for x in (student, teacher))
    torch.testing.assert_close(pearson(student, teacher, eps=0.5), (own - target).square().mean() / 2)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_channel_is_zeros_without_gradient(value: float, dtype: torch.dtype) -> None:
    student, teacher = (maps[0].to(dtype) for maps in (_maps((4, 2, 6)), _maps((4, 2, 6), seed=1)))
    student[:, 1] = value
    student.requires_grad_()
    target = (teacher[:, 1] - teacher[:, 1].mean()) / teacher[:, 1].std()
    known = pearson([student[:, :1]], [teacher[:, :1]])
    loss = pearson([student], [teacher])
    torch.testing.assert_close(loss, (known + target.square().mean() / 2) / 2, rtol=1e-5, atol=0)
    loss.backward()
    assert student.grad is not None
    assert not student.grad[:, 1].any()
    assert student.grad[:, 0].any()


def test_stages_are_summed() -> None:
    shapes = ((2, 3, 4), (2, 5, 2))
    student, teacher = _maps(*shapes), _maps(*shapes, seed=1)
    first, second = (pearson(student, teacher, stages=[stage]) for stage in range(2))
    torch.testing.assert_close(pearson(student, teacher), first + second)


def test_the_gradient_is_the_slope() -> None:
    (student,), teacher = _maps((2, 2, 3)), _maps((2, 2, 3), seed=1)
    torch.autograd.gradcheck(lambda x: pearson([x], teacher), student.requires_grad_())


def test_bad_requests_are_refused() -> None:
    student, teacher = _maps((2, 3, 4)), _maps((2, 5, 4))
    with pytest.raises(UsageError, match="pkd: the student has 3 channels, the teacher 5"):
        pearson(student, teacher)
    with pytest.raises(UsageError, match="pkd: eps is 0"):
        pearson(student, student, eps=0)
    with pytest.raises(UsageError, match="stage 1 is asked for"):
        pearson(student, student, stages=[1])
