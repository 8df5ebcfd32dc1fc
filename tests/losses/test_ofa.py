"""One for all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import CLASSES, batch_of, context, features, teacher_features, waves
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.ofa import OneForAll
from kdbench.types import Features


def _loss(**params: Any) -> OneForAll:
    torch.manual_seed(0)
    return OneForAll(context(), **params).double()


def _sides() -> tuple[Features, Features]:
    return features(dtype=torch.float64), teacher_features(dtype=torch.float64)


def _formula(scores: Tensor, teacher: Tensor, label: Tensor, eps: float, temperature: float) -> float:
    rows = []
    for s, t, y in zip(scores.detach().numpy(), teacher.detach().numpy(), label.tolist(), strict=True):
        p_s, p_t = (np.exp(x / temperature) / np.exp(x / temperature).sum() for x in (s, t))
        rows.append(-sum(((p_t[k] + (k == y)) ** eps - (k == y)) * np.log(p_s[k]) for k in range(len(s))))
    return float(np.mean(rows))


@pytest.mark.parametrize(("eps", "temperature"), [(1.0, 1.0), (1.5, 1.0), (1.2, 3.0)])
def test_it_is_the_formula_on_the_logits_and_on_every_exit(eps: float, temperature: float) -> None:
    (student, teacher), batch = _sides(), batch_of()
    loss = _loss(eps=eps, temperature=temperature, exit_weight=0.5)
    expected = _formula(student.logits, teacher.logits, batch.label, eps, temperature)
    for stage, layer in zip(student.stages, loss.exits, strict=True):
        assert isinstance(layer, nn.Linear)
        scores = stage.flatten(2).mean(2) @ layer.weight.T + layer.bias
        expected += 0.5 * _formula(scores, teacher.logits, batch.label, eps, temperature)
    assert loss(student, teacher, batch).item() == pytest.approx(expected, rel=1e-12)


def test_it_is_the_authors() -> None:
    # Hao840/OFAKD, ofa_loss(eps=1.5, temperature=2) of logits (4, 5) in float64.
    teacher, student = (
        replace(each, logits=waves(4, 5, phase=phase), stages=tuple(x[:4] for x in each.stages))
        for each, phase in zip(reversed(_sides()), (1.0, 0.0), strict=True)
    )
    torch.manual_seed(0)
    loss = OneForAll(replace(context(), classes=5), eps=1.5, temperature=2.0, exit_weight=0.0).double()
    value = loss(student, teacher, batch_of(4).replace(label=torch.tensor([0, 3, 1, 2])))
    assert value.item() == pytest.approx(1.2639480421043738, rel=1e-12)


def test_the_gradient_is_that_of_the_value() -> None:
    (student, teacher), batch, loss = _sides(), batch_of(), _loss(eps=1.5, stages=[3])

    def value(logits: Tensor, last: Tensor, *_parameters: Tensor) -> Tensor:
        moved: Tensor = loss(student.replace(logits=logits, stages=(*student.stages[:3], last)), teacher, batch)
        return moved

    assert torch.autograd.gradcheck(value, (student.logits, student.stages[3], *loss.parameters()))


def test_at_power_one_it_is_the_cross_entropy_with_the_teacher() -> None:
    student, teacher = _sides()
    value = _loss(exit_weight=0.0)(student, teacher, batch_of())
    expected = nn.functional.cross_entropy(student.logits, teacher.logits.softmax(1))
    torch.testing.assert_close(value, expected)
    # The label then has no effect.
    assert _loss()(student, teacher, batch_of().replace(label=torch.full((5,), -1))) == _loss()(*_sides(), batch_of())


def test_only_the_chosen_stages_have_an_exit() -> None:
    (student, teacher), loss = _sides(), _loss(stages=[1, -1])
    assert [(layer.in_features, layer.out_features) for layer in loss.exits if isinstance(layer, nn.Linear)] == [
        (6, CLASSES),
        (10, CLASSES),
    ]
    loss(student, teacher, batch_of()).backward()
    assert [stage.grad is not None for stage in student.stages] == [False, True, False, True]
    assert all(stage.grad is None for stage in teacher.stages)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"eps": 0}, "ofa: eps is 0, expected a positive number"),
        ({"temperature": 0}, "ofa: temperature is 0, expected a positive number"),
        ({"stages": [4]}, "stage 4 is asked for; the student has 4 stages"),
        ({"stages": []}, "stages is empty"),
    ],
)
def test_bad_requests_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _loss(**params)
