"""Curriculum temperature."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from loss_cases import batch_of, context, features, teacher_features, waves
from torch import Tensor

from kdbench.engine.objective import Objective
from kdbench.errors import UsageError
from kdbench.losses.ctkd import CurriculumTemperature
from kdbench.losses.st import soft_targets
from kdbench.recipes.terms import LossTerm


def _pair() -> tuple[Tensor, Tensor]:
    return waves(4, 5), waves(4, 5, phase=1.0)


def _temperature(loss: CurriculumTemperature) -> float:
    return loss.diagnostics()["temperature"].item()


def test_it_is_soft_targets_at_its_temperature() -> None:
    for progress in (0.0, 0.02, 1.0):
        loss = CurriculumTemperature(lowest=2.0, span=6.0).double()
        loss.at(progress)
        temperature = 2 + 6 / (1 + math.exp(-1))
        assert _temperature(loss) == pytest.approx(temperature, rel=1e-12)
        torch.testing.assert_close(loss(*_pair()), soft_targets(*_pair(), temperature=temperature))


def test_it_is_the_authors() -> None:
    # zhengli97/CTKD, Global_T, CosineDecay(0, -1, 10) at epoch 4 and DistillKL, t_start 1 and t_end 20, in float64.
    loss = CurriculumTemperature(ramp=10 / 240).double()
    loss.at(4 / 240)
    value = loss(*_pair())
    value.backward()
    assert value.item() == pytest.approx(0.8560903817611942, rel=1e-12)
    assert loss.position.grad is not None
    assert loss.position.grad.item() == pytest.approx(-0.0006519600300427964, rel=1e-9)


def test_the_gradient_of_the_student_is_that_of_the_value() -> None:
    student, teacher = _pair()
    loss = CurriculumTemperature().double()
    loss.at(1.0)
    assert torch.autograd.gradcheck(lambda scores: loss(scores, teacher), student.requires_grad_())


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.9, 1.0)])
def test_the_temperature_learns_against_the_loss_by_a_share_that_rises(progress: float, share: float) -> None:
    loss = CurriculumTemperature(ramp=0.1).double()
    loss.at(progress)
    loss(*_pair()).backward()

    def value(position: float) -> Tensor:
        return soft_targets(*_pair(), temperature=1 + 20 / (1 + math.exp(-position)))

    slope = (value(1 + 1e-4) - value(1 - 1e-4)) / 2e-4
    assert loss.position.grad is not None
    torch.testing.assert_close(loss.position.grad, -share * slope, rtol=1e-5, atol=1e-12)


def test_training_raises_it_where_the_student_stands_still() -> None:
    objective = Objective({"ctkd": LossTerm(ramp=0.5)}, context(), owner="student")
    student, teacher = features(scale=4), teacher_features(scale=4)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.3)
    values = []
    for step in range(6):
        optimizer.zero_grad()
        value, _ = objective([student], [teacher], batch_of(), progress=step / 6)
        value.backward()
        optimizer.step()
        values.append(value.item())
    # At the start the temperature does not learn.
    assert values[1] == values[0]
    assert values[1] < values[2] < values[5]
    assert objective.diagnostics()["ctkd/temperature"].shape == ()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lowest": 0}, "ctkd: lowest is 0, expected a positive number"),
        ({"span": -1}, "ctkd: span is -1, expected a positive number"),
        ({"ramp": 0}, r"ctkd: ramp is 0, expected a share of the training in \(0, 1\]"),
        ({"ramp": 10}, "ctkd: ramp is 10, expected a share of the training"),
    ],
)
def test_bad_requests_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CurriculumTemperature(**params)
