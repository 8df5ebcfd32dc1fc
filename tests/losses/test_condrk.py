"""ConDRK."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from typing import Any

import pytest
import torch
from loss_cases import CLASSES, TRAIN_SIZE, context
from torch import Tensor
from torch.nn.functional import cosine_similarity

from kdbench.errors import UsageError
from kdbench.losses.condrk import ContrastiveLogits
from kdbench.types import Batch


def _batch(labels: list[int], start: int = 0) -> Batch:
    index = torch.arange(start, start + len(labels))
    return Batch({}, None, torch.tensor(labels), tuple(f"t{i}" for i in index), index)


def _scores(samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, CLASSES, generator=generator)


def _marked(labels: list[int]) -> Tensor:
    """Teacher logits that tell their class: zero but for it, of a length that tells the trial."""
    return torch.arange(1.0, len(labels) + 1)[:, None] * torch.eye(CLASSES)[labels]


def test_it_is_the_contrast_of_the_docstring() -> None:
    labels = [0, 0, 1, 2, 1]
    student, teacher = _scores(5), _scores(5, seed=1)
    expected = 0.0
    for b in range(5):
        own = [i for i in range(5) if labels[i] == labels[b]]
        others = [i for i in range(5) if labels[i] != labels[b]]
        positive = 0.8 * teacher[b] + 0.2 * teacher[own].mean(0)
        s = exp(cosine_similarity(student[b], positive, dim=0).item() / 0.05)
        expected -= log(s / (s + 1 / TRAIN_SIZE))
        noise = len(others) / TRAIN_SIZE
        for j in others:
            s = exp(cosine_similarity(student[b], teacher[j], dim=0).item() / 0.05)
            expected -= log(noise / (s + noise))
    value = ContrastiveLogits(context())(student, teacher, _batch(labels))
    assert value.item() == pytest.approx(expected / 5, rel=1e-5)


def test_draws_are_of_the_right_class_of_trials_that_were_seen() -> None:
    labels = [k % 3 for k in range(18)]
    loss, teacher = ContrastiveLogits(context(), positives=2, negatives=5), _marked(labels)
    like, unlike, counts = loss._drawn(teacher, _batch(labels))
    assert like.argmax(1).tolist() == labels
    assert ((like > 0).sum(1) == 1).all()
    chosen = unlike.argmax(2)
    assert (chosen != torch.tensor(labels)[:, None]).all()
    assert chosen.max() < 3
    assert (counts == 5).all()


def test_draws_change_from_call_to_call_and_hold_no_trial_twice() -> None:
    labels = [k % 2 for k in range(18)]
    loss, batch = ContrastiveLogits(context(), positives=3), _batch(labels)
    lengths = torch.arange(1.0, 19.0)
    means = []
    for _ in range(8):
        like, _, _ = loss._drawn(_marked(labels), batch)
        means.append(like.amax(1))
    # The mean of three unlike trials of a class of nine, whose lengths are two apart.
    assert torch.stack(means).min() >= lengths[[0, 2, 4]].mean()
    assert torch.stack(means).max() <= lengths[[13, 15, 17]].mean()
    assert len({tuple(mean.tolist()) for mean in means}) == 8
    assert loss.calls == 8


def test_a_class_seen_once_is_its_own_positive_and_needs_no_negative() -> None:
    loss = ContrastiveLogits(context())
    student, teacher = _scores(1).requires_grad_(), _scores(1, seed=1)
    value = loss(student, teacher, _batch([2]))
    value.backward()
    s = exp(cosine_similarity(student[0], teacher[0], dim=0).item() / 0.05)
    assert value.item() == pytest.approx(-log(s / (s + 1 / TRAIN_SIZE)), rel=1e-4)
    assert student.grad.isfinite().all()


def test_the_student_leaves_the_other_classes() -> None:
    labels = torch.arange(12) % 3
    loss, teacher, batch = ContrastiveLogits(context()), 3 * torch.eye(CLASSES)[labels] - 1, _batch(labels.tolist())
    student = _scores(12).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        loss(student, teacher, batch).backward()
        optimizer.step()
    cosines = cosine_similarity(student[:, None], teacher[None], dim=2)
    alike = labels[:, None] == labels
    assert cosines[alike].min() > cosines[~alike].max()
    assert cosines[~alike].max() < log(9 / TRAIN_SIZE) * 0.05


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"beta": 1.5}, r"condrk: beta is 1.5, expected a number in \[0, 1\]"),
        ({"temperature": 0}, "condrk: temperature is 0"),
        ({"positives": 0}, "condrk: positives is 0"),
        ({"negatives": -1}, "condrk: negatives is -1"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ContrastiveLogits(context(), **params)


def test_a_training_part_of_unknown_size_is_refused() -> None:
    with pytest.raises(UsageError, match="needs the number of training trials"):
        ContrastiveLogits(replace(context(), train_size=0))
