"""Overhaul of feature distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loss_cases import STUDENT_CHANNELS, TEACHER_CHANNELS, context, features, teacher_features
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.ofd import Overhaul

GRIDS = ((2, 3),) * 4


def _ofd(**params: Any) -> Overhaul:
    torch.manual_seed(0)
    return Overhaul(context(), **params).double()


def _stages(seed: int = 0) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    student = features(grids=GRIDS, seed=seed, dtype=torch.float64)
    teacher = teacher_features(grids=GRIDS, seed=seed + 1, dtype=torch.float64)
    return student.stages, tuple(stage.detach() for stage in teacher.stages)


def _margins(*maps: Tensor) -> np.ndarray:
    """The mean of each channel's negative entries."""
    channels = torch.cat([each.transpose(0, 1).flatten(1) for each in maps], 1).numpy()
    return np.array([values[values < 0].mean() for values in channels])


def _partial(own: Tensor, target: Tensor, margins: np.ndarray) -> np.ndarray:
    """The distance as mdistiller writes it: three cases, entry by entry."""
    found = np.zeros(tuple(own.shape))
    for place in np.ndindex(*own.shape):
        s, t, m = own[place].item(), target[place].item(), margins[place[1]]
        if t > 0 or (t > m and s > t):
            found[place] = (s - t) ** 2
        elif t <= m and s > m:
            found[place] = (s - m) ** 2
    return found


def _connected(loss: Overhaul, stage: int, feature: Tensor) -> Tensor:
    mixed = torch.einsum("oc,bchw->bohw", loss.connectors[stage][0].weight, feature)
    return F.batch_norm(mixed, None, None, training=True).detach()


@pytest.mark.parametrize("margin", ["running", "batch"])
def test_it_is_the_partial_distance_to_the_map_above_the_margin(margin: Any) -> None:
    (student, teacher), loss = _stages(), _ofd(margin=margin)
    terms = [
        _partial(_connected(loss, stage, student[stage]), teacher[stage], _margins(teacher[stage]))
        for stage in range(4)
    ]
    expected = sum(0.5 ** (3 - stage) * term.sum() / 5 for stage, term in enumerate(terms))
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)
    means = _ofd(margin=margin, reduction="mean", decay=1.0)
    assert means(student, teacher).item() == pytest.approx(sum(term.mean() for term in terms), rel=1e-12)


def test_the_running_margin_is_that_of_all_batches_so_far() -> None:
    (student, first), (_, second) = _stages(), _stages(seed=5)
    running, batch = _ofd(stages=[1]), _ofd(stages=[1], margin="batch")
    for loss in (running, batch):
        loss(student, first)
    for loss, margins in ((running, _margins(first[1], second[1])), (batch, _margins(second[1]))):
        expected = _partial(_connected(loss, 0, student[1]), second[1], margins).sum() / 5
        assert loss(student, second).item() == pytest.approx(expected, rel=1e-12)
    assert running.negatives[0].count.tolist() == [
        int((channel < 0).sum()) for channel in torch.cat([first[1], second[1]]).transpose(0, 1)
    ]
    assert not batch.negatives[0].count.any()


def test_a_channel_without_negative_responses_has_the_margin_zero() -> None:
    student, teacher = _stages()
    loss = _ofd(stages=[1])
    value = loss(student, tuple(stage.abs() for stage in teacher))
    own = _connected(loss, 0, student[1])
    torch.testing.assert_close(value.detach(), (own - teacher[1].abs()).square().sum() / 5)
    assert not loss.negatives[0].mean.any()


def test_a_linear_and_batch_normalisation_stand_before_every_stage() -> None:
    shapes = [tuple(connector[0].weight.shape) for connector in _ofd().connectors]
    assert shapes == list(zip(TEACHER_CHANNELS, STUDENT_CHANNELS, strict=True))


def test_the_gradient_is_the_slope() -> None:
    student, teacher = _stages()
    loss = _ofd(stages=[0], margin="batch")
    torch.autograd.gradcheck(lambda x: loss([x], [teacher[0][:2]]), student[0][:2])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"decay": 0}, "ofd: decay is 0"),
        ({"margin": "run"}, "margin of ofd"),
        ({"reduction": "means"}, "did you mean 'mean'"),
        ({"stages": [4]}, "stage 4 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _ofd(**params)
