"""Neuron selectivity transfer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.nst import neuron_selectivity

KERNELS = ("polynomial", "linear", "gaussian")


def _map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _by_pairs(student: Tensor, teacher: Tensor, name: str) -> Tensor:
    """The discrepancy, channel by channel."""
    terms = []
    for of_student, of_teacher in zip(student.flatten(2), teacher.flatten(2), strict=True):
        s, t = ([channel / channel.norm() for channel in sample] for sample in (of_student, of_teacher))
        variance = torch.stack([(x - y).square().sum() for x in s for y in t]).mean()
        kernels: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "polynomial": lambda x, y: (x @ y) ** 2,
            "linear": lambda x, y: x @ y,
            "gaussian": lambda x, y, variance=variance: (-(x - y).square().sum() / (2 * variance)).exp(),
        }
        k = kernels[name]
        means = [torch.stack([k(x, y) for x in a for y in b]).mean() for a, b in ((t, t), (s, s), (s, t))]
        terms.append(means[0] + means[1] - 2 * means[2])
    return torch.stack(terms).mean()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("grid", [(2,), (3, 5), (2, 3, 3)])
def test_it_is_the_discrepancy_of_the_normalised_channels(grid: tuple[int, ...], kernel: str) -> None:
    student, teacher = _map(3, 6, *grid), _map(3, 4, *grid, seed=1)
    torch.testing.assert_close(
        neuron_selectivity([student], [teacher], kernel=kernel), _by_pairs(student, teacher, kernel)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_scale_and_order_of_the_channels_have_no_effect(kernel: str) -> None:
    student, teacher = _map(3, 6, 4, 4), _map(3, 5, 4, 4, seed=1)
    value = neuron_selectivity([student], [teacher], kernel=kernel)
    assert value > 1e-4
    torch.testing.assert_close(neuron_selectivity([7 * student.flip(1)], [teacher], kernel=kernel), value)


def test_all_stages_are_summed_by_default() -> None:
    student, teacher = [_map(2, 4, 3), _map(2, 5, 2, 2)], [_map(2, 3, 3, seed=1), _map(2, 8, 2, 2, seed=1)]
    first, last = (neuron_selectivity(student, teacher, stages=[stage]) for stage in (0, 1))
    torch.testing.assert_close(neuron_selectivity(student, teacher), first + last)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("channels", [3, 40])
def test_silent_channels_have_a_finite_gradient(channels: int, kernel: str) -> None:
    student, teacher = _map(2, channels, 3, 3), _map(2, channels, 3, 3, seed=1)
    student[0] = teacher[0] = 0
    student[1, 0] = 0
    student.requires_grad_()
    value = neuron_selectivity([student], [teacher], kernel=kernel)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e3
    assert student.grad[1, 1].abs().max() > 0


def test_a_kernel_or_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'gaussian'"):
        neuron_selectivity([_map(1, 2, 3)], [_map(1, 2, 3)], kernel="gausian")
    with pytest.raises(UsageError, match="stage 1 is asked for"):
        neuron_selectivity([_map(1, 2, 3)], [_map(1, 2, 3)], stages=[1])
