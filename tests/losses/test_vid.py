"""Variational information distillation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import STUDENT_CHANNELS, TEACHER_CHANNELS, context, features, teacher_features
from torch.distributions import Normal

from kdbench.errors import UsageError
from kdbench.losses.vid import VariationalInformation


def _vid(**params: Any) -> VariationalInformation:
    torch.manual_seed(0)
    return VariationalInformation(context(), **params)


def test_it_is_the_mean_negative_log_likelihood_without_its_constant() -> None:
    loss = _vid(stages=[2], variance=3.0)
    grids = ((2, 2),) * 4
    student, teacher = features(grids=grids), teacher_features(grids=grids)
    own = student.stages[2].flatten(2)
    predicted = loss.means[0](own).unflatten(2, (2, 2))
    density = Normal(predicted, torch.tensor(3.0).sqrt()).log_prob(teacher.stages[2])
    constant = torch.tensor(2 * torch.pi).log() / 2
    torch.testing.assert_close(loss(student.stages, teacher.stages), -density.mean() - constant)


def test_every_channel_has_its_own_variance_which_starts_as_asked() -> None:
    loss = _vid(variance=0.25)
    assert [tuple(spread.shape) for spread in loss.spreads] == [(width,) for width in TEACHER_CHANNELS]
    for spread in loss.spreads:
        torch.testing.assert_close(F.softplus(spread) + loss.eps, torch.full_like(spread, 0.25))
    torch.testing.assert_close(loss.diagnostics()["variance"], torch.tensor(0.25))


def test_the_mean_goes_through_two_hidden_layers_of_the_teachers_width() -> None:
    shapes = [tuple(weight.shape[:2]) for weight in _vid(stages=[1]).means[0].parameters()]
    assert shapes == [
        (TEACHER_CHANNELS[1], STUDENT_CHANNELS[1]),
        (TEACHER_CHANNELS[1],) * 2,
        (TEACHER_CHANNELS[1],) * 2,
    ]


def test_the_variance_comes_to_the_mean_squared_error_of_its_channel() -> None:
    loss = _vid(stages=[3])
    student, teacher = features(), teacher_features()
    optimizer = torch.optim.Adam(loss.spreads.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss(student.stages, teacher.stages).backward()
        optimizer.step()
    predicted = loss.means[0](student.stages[3].mean(2).mean((2, 3), keepdim=True).flatten(2))
    error = (predicted - teacher.stages[3].flatten(2)).square().mean((0, 2))
    torch.testing.assert_close(F.softplus(loss.spreads[0]), error, rtol=2e-2, atol=1e-3)


def test_all_stages_are_summed_by_default() -> None:
    student, teacher = features(), teacher_features()
    whole, parts = _vid(), [_vid(stages=[stage]) for stage in range(4)]
    for stage, part in enumerate(parts):
        part.means[0].load_state_dict(whole.means[stage].state_dict())
    value = sum(part(student.stages, teacher.stages) for part in parts)
    torch.testing.assert_close(whole(student.stages, teacher.stages), value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"variance": 0}, "expected variance > eps > 0"),
        ({"eps": 0}, "expected variance > eps > 0"),
        ({"stages": [4]}, "stage 4 is asked for"),
        ({"stages": []}, "stages is empty"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _vid(**params)
