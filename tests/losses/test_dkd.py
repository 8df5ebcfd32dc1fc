"""Decoupled knowledge distillation."""

from __future__ import annotations

import pytest
import torch
from loss_cases import batch_of
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.dkd import decoupled
from kdbench.losses.st import soft_targets


def _pair(samples: int = 4, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, samples, classes, dtype=torch.float64, generator=generator)
    return student, teacher


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets_are_the_case_where_the_rest_weighs_what_the_teacher_leaves_it(temperature: float) -> None:
    student, teacher = _pair(samples=1)
    left = 1 - (teacher / temperature).softmax(1)[0, 0].item()
    whole = decoupled(student, teacher, batch=batch_of(1), alpha=1, beta=left, temperature=temperature)
    torch.testing.assert_close(whole, soft_targets(student, teacher, temperature=temperature))


def test_the_terms_see_what_the_other_does_not() -> None:
    student, teacher = _pair()
    batch = batch_of(4)
    raised = student.clone()
    raised[torch.arange(4), batch.label] += 2
    for weights, feels in (({"alpha": 1, "beta": 0}, True), ({"alpha": 0, "beta": 1}, False)):
        before, after = (decoupled(scores, teacher, batch=batch, **weights) for scores in (student, raised))
        assert (abs(after - before) > 1e-3) == feels


def test_two_classes_have_no_others() -> None:
    student, teacher = _pair(samples=2, classes=2)
    torch.testing.assert_close(
        decoupled(student, teacher, batch=batch_of(2), beta=8),
        soft_targets(student, teacher, temperature=4),
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_scores_are_finite_and_have_a_gradient(sign: int) -> None:
    student = (sign * torch.tensor([[1e4, 0.0, -1e4]])).requires_grad_()
    value = decoupled(student, torch.tensor([[-1e4, 1e4, 0.0]]), batch=batch_of(1), temperature=1)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() > 0.1


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="dkd: temperature is 0, expected a positive number"):
        decoupled(*_pair(), batch=batch_of(4), temperature=0)
    with pytest.raises(UsageError, match="dkd: there is 1 class; expected at least 2"):
        decoupled(*_pair(classes=1), batch=batch_of(4))
    with pytest.raises(UsageError, match="the same classes of the same trials"):
        decoupled(_pair()[0], _pair(classes=6)[1], batch=batch_of(4))
