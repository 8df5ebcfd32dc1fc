"""Soft targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.losses.st import soft_targets


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(3 * torch.randn(4, 6, dtype=torch.float64, generator=generator) for _ in range(2))


def test_it_is_the_divergence_of_the_softened_probabilities(pair) -> None:
    student, teacher = pair
    p, q = (teacher / 3).softmax(1), (student / 3).softmax(1)
    expected = (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(soft_targets(student, teacher, temperature=3, scale="none"), expected)
    torch.testing.assert_close(soft_targets(student, teacher, temperature=3), 9 * expected)
    torch.testing.assert_close(soft_targets(student, teacher, temperature=3, reduction="sum"), 36 * expected)
    torch.testing.assert_close(soft_targets(student, teacher, temperature=3, reduction="mean"), 9 * expected / 6)


def test_the_squared_temperature_keeps_the_size_of_the_gradient(pair) -> None:
    student, teacher = pair

    def norm(temperature: float, scale: str) -> float:
        logits = student.clone().requires_grad_()
        soft_targets(logits, teacher, temperature=temperature, scale=scale).backward()
        return logits.grad.norm().item()

    assert norm(40, "t2") == pytest.approx(norm(80, "t2"), rel=0.05)
    assert norm(40, "none") > 3.5 * norm(80, "none")


def test_a_shift_of_a_sample_has_no_effect_and_a_scale_has_none_when_standardized(pair) -> None:
    student, teacher = pair
    shifted = student + torch.arange(4.0, dtype=torch.float64)[:, None]
    torch.testing.assert_close(soft_targets(shifted, teacher), soft_targets(student, teacher))
    assert abs(soft_targets(5 * student, teacher) - soft_targets(student, teacher)) > 0.01
    torch.testing.assert_close(
        soft_targets(5 * shifted, teacher, standardize=True), soft_targets(student, teacher, standardize=True)
    )


def test_extreme_logits_are_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = soft_targets(logits, torch.tensor([[-1e4, 1e4, 0.0]]), temperature=1)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": 0}, "temperature is 0, expected a positive number"),
        ({"scale": "t3"}, "unknown scale of st 't3' .known: none, t2"),
        ({"reduction": "batch_mean"}, "did you mean 'batchmean'"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(pair, params: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        soft_targets(*pair, **params)


def test_unlike_classes_are_refused(pair) -> None:
    with pytest.raises(UsageError, match="must score the same classes"):
        soft_targets(pair[0], pair[1][:, :5])


def test_standardisation_is_the_z_score_of_each_samples_logits(pair) -> None:
    student, teacher = pair
    scores = [(x - np.mean(x, 1, keepdims=True)) / np.std(x, 1, ddof=1, keepdims=True) for x in map(np.asarray, pair)]
    q, p = (np.exp(z / 2) / np.exp(z / 2).sum(1, keepdims=True) for z in scores)
    expected = 4 * (p * np.log(p / q)).sum(1).mean()
    value = soft_targets(student, teacher, temperature=2, standardize=True, eps=1e-12)
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_logits_without_spread_are_finite_when_standardised(pair) -> None:
    student = torch.full((4, 6), 2.5, requires_grad=True)
    value = soft_targets(student, pair[1], standardize=True)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
