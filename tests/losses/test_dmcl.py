"""Distillation multiple choice learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import CLASSES, batch_of
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.dmcl import multiple_choice

BATCH = batch_of(8)


def _streams(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [2 * torch.randn(8, CLASSES, generator=generator, dtype=torch.float64) for _ in range(count)]


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores - scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def _sum_of_all(streams: list[np.ndarray], labels: np.ndarray, temperature: float, loser_labels: float) -> np.ndarray:
    """The authors' sum over all streams, a term each: of winners by the label, of losers by the winner."""
    errors = np.stack([-_log_softmax(z)[np.arange(len(labels)), labels] for z in streams])
    winner = errors.argmin(0)
    parts = []
    for number, own in enumerate(streams):
        total = 0.0
        for row in range(len(labels)):
            if winner[row] == number:
                total += errors[number, row]
                continue
            soft = np.exp(_log_softmax(streams[winner[row]][row] / temperature))
            total -= temperature**2 * (soft * _log_softmax(own[row] / temperature)).sum()
            total += loser_labels * errors[number, row]
        parts.append(total / len(labels))
    return np.array(parts)


@pytest.mark.parametrize(("temperature", "loser_labels"), [(2.0, 0.0), (4.0, 1.0)])
def test_two_networks_make_the_sum_of_the_authors(temperature: float, loser_labels: float) -> None:
    first, second = _streams(2)
    expected = _sum_of_all([first.numpy(), second.numpy()], BATCH.label.numpy(), temperature, loser_labels)
    params: dict[str, Any] = {"batch": BATCH, "temperature": temperature, "loser_labels": loser_labels}
    values = [multiple_choice(first, [second], **params), multiple_choice(second, [first], **params)]
    np.testing.assert_allclose([value.item() for value in values], expected, rtol=1e-12)


def test_the_student_sees_all_streams() -> None:
    student, *others = _streams(3)
    expected = _sum_of_all([x.numpy() for x in (student, *others)], BATCH.label.numpy(), 2.0, 0.0)
    assert multiple_choice(student, others, batch=BATCH).item() == pytest.approx(expected[0], rel=1e-12)


def test_the_winner_learns_the_label_alone_and_the_loser_the_winner_alone() -> None:
    label = BATCH.label
    sure = 5 * torch.nn.functional.one_hot(label, CLASSES).double()
    unsure = torch.zeros(8, CLASSES, dtype=torch.float64)
    won = multiple_choice(sure, [unsure], batch=BATCH)
    torch.testing.assert_close(won, torch.nn.functional.cross_entropy(sure, label))
    follower = sure.roll(1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(multiple_choice(follower, [sure], batch=BATCH, temperature=1.0), follower)
    torch.testing.assert_close(gradient, (follower.softmax(1) - sure.softmax(1)).detach() / 8)


@pytest.mark.parametrize(
    ("params", "message"),
    [({"temperature": 0}, "dmcl: temperature is 0"), ({"loser_labels": -1}, "dmcl: loser_labels is -1")],
)
def test_a_parameter_out_of_range_is_refused(params: dict[str, Any], message: str) -> None:
    first, second = _streams(2)
    with pytest.raises(UsageError, match=message):
        multiple_choice(first, [second], batch=BATCH, **params)


def test_a_stream_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no teacher beside the student"):
        multiple_choice(_streams(1)[0], [], batch=BATCH)
