"""Contrastive representation distillation."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from loss_cases import STUDENT_CHANNELS, TEACHER_CHANNELS, TRAIN_SIZE, context
from torch import Tensor
from torch.nn.functional import normalize

from kdbench.errors import UsageError
from kdbench.losses.crd import ContrastiveRepresentation
from kdbench.types import Batch

LABELS = (0, 0, 1, 2, 1)


def _loss(**params: Any) -> ContrastiveRepresentation:
    torch.manual_seed(3)
    return ContrastiveRepresentation(context(), **{"width": 4, "temperature": 0.5, **params}).double()


def _pair(samples: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = (STUDENT_CHANNELS[-1], TEACHER_CHANNELS[-1])
    student, teacher = (torch.randn(samples, w, generator=generator, dtype=torch.float64) for w in widths)
    return student.requires_grad_(), teacher.requires_grad_()


def _batch(index: tuple[int, ...] = (0, 1, 2, 3, 4), labels: tuple[int, ...] = LABELS) -> Batch:
    return Batch({}, None, torch.tensor(labels), tuple(f"t{i}" for i in index), torch.tensor(index))


def _by_hand(loss: ContrastiveRepresentation, student: Tensor, teacher: Tensor, *, same_class: bool) -> float:
    """The formula with loops, from the embeddings of a batch alone."""
    ours, theirs = normalize(loss.embed_student(student)), normalize(loss.embed_teacher(teacher))
    unlike = [[j for j in range(5) if j != i and (same_class or LABELS[j] != LABELS[i])] for i in range(5)]
    total = 0.0
    for anchors, others in ((ours, theirs), (theirs, ours)):
        critic = (anchors @ others.T / loss.temperature).exp()
        held = [critic[i, j].item() for i in range(5) for j in unlike[i]]
        constant = sum(held) / len(held) * TRAIN_SIZE
        for i in range(5):
            noise = len(unlike[i]) / TRAIN_SIZE
            p = critic[i, i].item() / constant
            total -= log(p / (p + noise))
            for j in unlike[i]:
                total -= log(noise / (critic[i, j].item() / constant + noise))
    return total / 5


@pytest.mark.parametrize("same_class", [False, True])
def test_it_is_the_papers_contrast_with_a_constant_from_the_first_batch(same_class: bool) -> None:
    loss = _loss(same_class=same_class)
    student, teacher = _pair()
    expected = _by_hand(loss, student, teacher, same_class=same_class)
    assert loss(student, teacher, _batch()).item() == pytest.approx(expected, rel=1e-9)


def test_the_constant_stays_that_of_the_first_batch() -> None:
    loss = _loss()
    loss(*_pair(), _batch())
    held = loss.log_partition.clone()
    loss(*_pair(seed=1), _batch())
    assert held.isfinite().all()
    assert loss.log_partition.equal(held)


def test_with_one_batch_seen_the_memory_holds_that_batch() -> None:
    values = [_loss(negatives=negatives)(*_pair(), _batch()) for negatives in ("batch", "memory")]
    torch.testing.assert_close(*values)


def test_the_memory_is_a_moving_mean_of_unit_length() -> None:
    loss, (student, teacher) = _loss(negatives="memory", momentum=0.75), _pair()
    loss(student, teacher, _batch(index=(4, 9, 0, 1, 7)))
    first = [normalize(loss.embed_student(student)), normalize(loss.embed_teacher(teacher))]
    torch.testing.assert_close(loss.memory[:, [4, 9, 0, 1, 7]], torch.stack(first))
    student, teacher = _pair(seed=1)
    loss(student, teacher, _batch(index=(4, 9, 0, 1, 7)))
    second = [normalize(loss.embed_student(student)), normalize(loss.embed_teacher(teacher))]
    mixed = normalize(0.75 * torch.stack(first) + 0.25 * torch.stack(second), dim=2)
    torch.testing.assert_close(loss.memory[:, [4, 9, 0, 1, 7]], mixed)
    assert sorted((loss.memory_label >= 0).nonzero()[:, 0].tolist()) == [0, 1, 4, 7, 9]


def test_trials_seen_before_are_negatives_and_unseen_ones_are_not() -> None:
    alone, after = _loss(negatives="memory"), _loss(negatives="memory")
    last = _pair(1, seed=2), _batch(index=(5,), labels=(0,))
    assert alone(*last[0], last[1]) == 0
    after(*_pair(), _batch())
    value = after(*last[0], last[1])
    value.backward()
    assert value > 0
    assert after.embed_teacher.weight.grad.abs().sum() > 0


def test_only_trials_of_other_classes_are_negatives() -> None:
    loss = _loss(negatives="memory")
    loss(*_pair(), _batch(labels=(2, 2, 2, 2, 2)))
    value = loss(*_pair(1, seed=2), _batch(index=(5,), labels=(2,)))
    assert value == 0
    assert loss.log_partition.isinf().all()


@pytest.mark.parametrize("negatives", ["batch", "memory"])
def test_both_embeddings_learn_and_the_teacher_does_not(negatives: str) -> None:
    loss, (student, teacher) = _loss(negatives=negatives), _pair()
    loss(student, teacher, _batch()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_two_student_branches_may_share_a_memory() -> None:
    loss, (student, teacher) = _loss(negatives="memory"), _pair()
    other = (student.detach() + 1).requires_grad_()
    torch.stack([loss(branch, teacher, _batch()) for branch in (student, other)]).mean().backward()
    assert other.grad.abs().sum() > 0


def test_a_student_apart_from_the_noise_loses_less() -> None:
    loss = _loss(negatives="memory", temperature=0.07)
    student, teacher = _pair()
    optimizer = torch.optim.Adam([student, *loss.parameters()], lr=0.05)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        values.append(loss(student, teacher, _batch()))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"negatives": "memroy"}, "did you mean 'memory'"),
        ({"temperature": 0}, "crd: temperature is 0"),
        ({"width": 0}, "crd: width is 0"),
        ({"momentum": 1}, r"crd: momentum is 1, expected a number in \[0, 1\)"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ContrastiveRepresentation(context(), **params)


def test_what_it_is_built_from_is_checked() -> None:
    with pytest.raises(UsageError, match="needs the number of training trials"):
        ContrastiveRepresentation(replace(context(), train_size=0))
    with pytest.raises(UsageError, match="one teacher branch, and there are 2"):
        ContrastiveRepresentation(context(teachers=(TEACHER_CHANNELS, TEACHER_CHANNELS)))
