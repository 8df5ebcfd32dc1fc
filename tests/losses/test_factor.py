"""Factor transfer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import context, features, teacher_features

from kdbench.errors import UsageError
from kdbench.losses.factor import FactorTransfer

GRIDS = ((2, 3),) * 4


def _factor(**params: Any) -> FactorTransfer:
    torch.manual_seed(0)
    return FactorTransfer(context(), **params)


@pytest.mark.parametrize("p", [1, 2])
def test_it_compares_the_directions_of_the_factors(p: float) -> None:
    loss = _factor(p=p, reconstruction=0.25)
    student, teacher = features(grids=GRIDS).stages, teacher_features(grids=GRIDS).stages
    factors = loss.paraphraser(teacher[-1].flatten(2))
    error = F.mse_loss(loss.decoder(factors), teacher[-1].flatten(2))
    own, target = (F.normalize(x.flatten(1)) for x in (loss.translator(student[-1].flatten(2)), factors))
    torch.testing.assert_close(loss(student, teacher), (own - target).abs().pow(p).mean() + 0.25 * error)
    torch.testing.assert_close(loss.diagnostics()["reconstruction"], error.detach())


def test_the_translator_learns_from_the_factors_and_the_paraphraser_from_its_reconstruction_alone() -> None:
    student, teacher = features(), teacher_features()
    gradients = []
    for reconstruction in (1.0, 2.0):
        loss = _factor(reconstruction=reconstruction)
        loss(student.stages, teacher.stages).backward()
        gradients.append({name: weight.grad for name, weight in loss.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0
        factor = 1 if name.startswith("translator") else 2
        torch.testing.assert_close(gradients[1][name], factor * gradient)
    assert all(stage.grad is None for stage in teacher.stages)


def test_the_paraphraser_learns_to_reconstruct_beside_the_student() -> None:
    loss = _factor(rate=1.0)
    student, teacher = features().stages, teacher_features().stages
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    assert loss.diagnostics() == {}
    errors = []
    for _ in range(100):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
        errors.append(loss.diagnostics()["reconstruction"].item())
    assert errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize(("rate", "width"), [(0.5, 3), (1, 7), (0.01, 1), (2, 14)])
def test_the_rate_is_the_width_of_the_factors_over_the_teachers(rate: float, width: int) -> None:
    assert _factor(rate=rate).paraphraser(torch.zeros(1, 7, 4)).shape == (1, width, 4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"p": 0.5}, "p is 0.5"),
        ({"rate": 0}, "expected positive numbers"),
        ({"reconstruction": 0}, "expected positive numbers"),
        ({"stage": 4}, "stage 4 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _factor(**params)
