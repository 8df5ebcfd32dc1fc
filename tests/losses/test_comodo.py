"""COMODO's queue of the teacher's embeddings."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import STUDENT_CHANNELS, TEACHER_CHANNELS, TRAIN_SIZE, context
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.comodo import QueueSimilarity

SIZE = 5


def _loss(**params: Any) -> QueueSimilarity:
    torch.manual_seed(0)
    return QueueSimilarity(context(), **{"hidden": 16, **params}).double()


def _pair(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = (STUDENT_CHANNELS[-1], TEACHER_CHANNELS[-1])
    student, teacher = (torch.randn(SIZE, width, generator=generator, dtype=torch.float64) for width in widths)
    return student.requires_grad_(), teacher.requires_grad_()


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _reference(own: np.ndarray, given: np.ndarray, keys: np.ndarray, hot: float = 0.1, cold: float = 0.05) -> float:
    theirs, ours = (given @ keys.T / hot, own @ keys.T / cold)
    shares = np.exp(theirs - theirs.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    top = ours.max(1, keepdims=True)
    logs = ours - top - np.log(np.exp(ours - top).sum(1, keepdims=True))
    return float(-(shares * logs).sum() / len(own))


@pytest.mark.parametrize("queue", [16384, 8])
def test_it_is_the_cross_entropy_over_what_the_queue_holds(queue: int) -> None:
    loss, keys = _loss(queue=queue), np.zeros((0, TEACHER_CHANNELS[-1]))
    for seed in range(6):
        student, teacher = _pair(seed)
        value = loss(student, teacher)
        own = _unit(loss.layers(student).detach().numpy())
        given = _unit(teacher.detach().numpy())
        keys = np.concatenate([keys, given])
        assert value.item() == pytest.approx(_reference(own, given, keys), rel=1e-9)
        keys = keys[-min(queue, TRAIN_SIZE) :]


def test_the_teacher_gets_no_gradient_and_the_queue_keeps_none() -> None:
    loss = _loss()
    for seed in range(2):
        student, teacher = _pair(seed)
        loss(student, teacher).backward()
        assert teacher.grad is None
        assert student.grad is not None
        assert student.grad.any()
    assert not loss.stored.requires_grad
    assert loss.there.sum() == 2 * SIZE


def test_the_gradient_is_the_slope() -> None:
    loss = _loss()
    loss(*_pair(0))
    student, teacher = _pair(1)
    stored, there = loss.stored.clone(), loss.there.clone()

    def value(x: Tensor) -> Tensor:
        loss.stored.copy_(stored)
        loss.there.copy_(there)
        return loss(x, teacher)

    torch.autograd.gradcheck(value, student)


@pytest.mark.parametrize("name", ["queue", "teacher_temperature", "student_temperature", "hidden"])
def test_a_parameter_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"comodo: {name} is 0"):
        _loss(**{name: 0})


def test_the_size_of_the_training_part_has_to_be_known() -> None:
    with pytest.raises(UsageError, match="number of training trials"):
        QueueSimilarity(dataclasses.replace(context(), train_size=0))
