"""Inter-channel correlation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.ickd import inter_channel_correlation


def _map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 4, 5, 5), (3, 40, 2, 3), (3, 40, 7)])
def test_it_compares_the_rows_of_the_channels_gram_matrices(shape: tuple[int, ...]) -> None:
    student, teacher = _map(*shape), _map(*shape, seed=1)
    terms = []
    for s, t in zip(student.flatten(2), teacher.flatten(2), strict=True):
        rows = [torch.stack([row / row.norm() for row in x @ x.T]) for x in (s, t)]
        terms.append((rows[0] - rows[1]).square().sum() / shape[1])
    torch.testing.assert_close(inter_channel_correlation([student], [teacher]), torch.stack(terms).mean())


def test_scale_and_order_of_the_positions_have_no_effect_and_those_of_the_channels_have() -> None:
    student, teacher = _map(3, 4, 5), _map(3, 4, 5, seed=1)
    value = inter_channel_correlation([student], [teacher])
    torch.testing.assert_close(inter_channel_correlation([-3 * student.flip(2)], [teacher]), value)
    assert abs(inter_channel_correlation([student.flip(1)], [teacher]) - value) > 1e-3


def test_the_grids_need_not_agree_and_a_clip_is_averaged_over_time() -> None:
    clip, image = _map(2, 3, 4, 5, 5), _map(2, 3, 2, 2, seed=1)
    value = inter_channel_correlation([clip], [image])
    torch.testing.assert_close(inter_channel_correlation([clip.mean(2)], [image]), value)
    assert inter_channel_correlation([clip], [_map(2, 3, 9, seed=1)]) > 0


def test_the_last_stage_is_compared_by_default_and_chosen_stages_are_summed() -> None:
    student, teacher = [_map(2, 3, 4), _map(2, 5, 2)], [_map(2, 3, 4, seed=1), _map(2, 5, 2, seed=1)]
    first, last = (inter_channel_correlation(student, teacher, stages=[stage]) for stage in (0, 1))
    torch.testing.assert_close(inter_channel_correlation(student, teacher), last)
    torch.testing.assert_close(inter_channel_correlation(student, teacher, stages=None), first + last)


@pytest.mark.parametrize("positions", [3, 9])
def test_a_silent_channel_has_no_correlation_and_no_gradient(positions: int) -> None:
    student, teacher = _map(2, 4, positions), _map(2, 4, positions, seed=1)
    student[0, 1] = 0
    student.requires_grad_()
    value = inter_channel_correlation([student], [teacher])
    rows = [torch.nn.functional.normalize(x @ x.mT, dim=2) for x in (student, teacher)]
    torch.testing.assert_close(value, (rows[0] - rows[1]).square().sum((1, 2)).mean() / 4)
    value.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e2
    assert student.grad[0, 0].abs().max() > 0


def test_unlike_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="ickd: the student has 3 channels, the teacher 4"):
        inter_channel_correlation([_map(2, 3, 5)], [_map(2, 4, 5)])
