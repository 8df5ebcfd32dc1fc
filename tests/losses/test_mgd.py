"""Masked generative distillation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import TEACHER_CHANNELS, batch_of, built, context, features, teacher_features
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.draws import priorities
from kdbench.losses.mgd import MaskedGeneration

GRIDS = ((4, 4), (3, 3), (2, 3), (2, 2))


def _mgd(**params: Any) -> MaskedGeneration:
    torch.manual_seed(0)
    return MaskedGeneration(context(), **params).double()


def _stages(samples: int = 5, grids: Any = GRIDS) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    ours, theirs = (teacher_features(samples, grids=grids, seed=seed, dtype=torch.float64).stages for seed in (1, 2))
    return ours, tuple(stage.detach() for stage in theirs)


def _generated(loss: MaskedGeneration, place: int, masked: Tensor) -> Tensor:
    first, _, second = loss.generators[place]
    hidden = F.conv2d(masked, first.weight[:, :, 1], first.bias, padding=1).clamp_min(0)
    return F.conv2d(hidden, second.weight[:, :, 1], second.bias, padding=1)


@pytest.mark.parametrize("mask", ["channel", "position"])
def test_it_is_the_squared_error_of_what_is_generated_of_the_rest(mask: Any) -> None:
    (student, teacher), loss, batch = _stages(), _mgd(ratio=0.4, mask=mask, stages=[0, 2]), batch_of()
    terms = []
    for place, stage in enumerate((0, 2)):
        own = student[stage]
        shape = (5, own.shape[1], 1, 1) if mask == "channel" else (5, 1, *own.shape[2:])
        columns = own.shape[1] if mask == "channel" else own[0, 0].numel()
        drawn = priorities(torch.tensor(place), batch.index, columns).double().view(shape) / 2**32
        terms.append((_generated(loss, place, own * (drawn >= 0.4)) - teacher[stage]).square())
    value = loss(student, teacher, batch)
    torch.testing.assert_close(value, sum(term.sum() / 5 for term in terms))
    means = _mgd(ratio=0.4, mask=mask, stages=[0, 2], reduction="mean")
    torch.testing.assert_close(means(student, teacher, batch), sum(term.mean() for term in terms))


@pytest.mark.parametrize("grids", [((8,), (6,), (4,), (2,)), GRIDS, ((2, 4, 4), (2, 3, 3), (2, 2, 2), (2, 1, 2))])
def test_without_a_mask_it_serves_every_grid(grids: Any) -> None:
    student, teacher = _stages(grids=grids)
    loss = _mgd(ratio=0.0)
    made = loss.generators[0](student[-1])
    torch.testing.assert_close(loss(student, teacher, batch_of()), (made - teacher[-1]).square().sum() / 5)


@pytest.mark.parametrize(("ratio", "mask"), [(0.15, "channel"), (0.65, "position")])
def test_the_ratio_is_masked_anew_in_every_call(ratio: float, mask: Any) -> None:
    loss, index = _mgd(ratio=ratio, mask=mask), torch.arange(64)
    feature = torch.ones(64, 20, 4, 4)
    masks = [loss._mask(feature, index) for _ in range(4)]
    assert not masks[0].equal(masks[1])
    assert masks[0].expand_as(feature).shape == feature.shape
    assert 1 - torch.stack(masks).mean().item() == pytest.approx(ratio, abs=0.03)
    assert loss.calls == 4


def test_a_trial_keeps_its_mask_in_another_order_of_the_batch() -> None:
    index, order = torch.arange(6) + 7, torch.tensor([3, 0, 4, 1, 2, 5])
    feature = torch.ones(6, 9, 2)
    masks, other = _mgd(ratio=0.5)._mask(feature, index), _mgd(ratio=0.5)._mask(feature, index[order])
    assert other.equal(masks[order])
    assert masks.unique(dim=0).shape[0] > 1


def test_a_learnt_linear_brings_the_student_to_the_width_of_the_teacher() -> None:
    loss = built("mgd")
    loss(features(), teacher_features(), batch_of()).backward()
    learnt = {name for name, weight in loss.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert {name.split(".")[1] for name in learnt} == {"projectors", "stateful"}


def test_the_gradient_is_the_slope() -> None:
    (student, teacher), loss, batch = _stages(2), _mgd(ratio=0.3), batch_of(2)

    def value(x: Tensor) -> Tensor:
        loss.calls.zero_()
        return loss([*student[:3], x], teacher, batch)

    torch.autograd.gradcheck(value, student[3])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"ratio": 1}, "mgd: ratio is 1"),
        ({"ratio": -0.1}, "mgd: ratio is -0.1"),
        ({"mask": "channels"}, "did you mean 'channel'"),
        ({"reduction": "means"}, "did you mean 'mean'"),
        ({"stages": [4]}, "stage 4 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _mgd(**params)


def test_unlike_channels_are_refused() -> None:
    student = [stage[:, :3] for stage in _stages()[0]]
    with pytest.raises(UsageError, match=f"mgd: the student has 3 channels, the teacher {TEACHER_CHANNELS[-1]}"):
        _mgd()(student, _stages()[1], batch_of())
