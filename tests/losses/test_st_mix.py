"""Soft targets of several teachers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_cases import CLASSES, TEACHER_CHANNELS, batch_of, context, features, teacher_features
from torch import Tensor

from kdbench.engine.objective import Term
from kdbench.errors import UsageError
from kdbench.losses.st import soft_targets
from kdbench.losses.st_mix import mixed_soft_targets
from kdbench.recipes.terms import LossTerm


def _scores(seed: int) -> Tensor:
    return 3 * torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_divergence_from_the_mean_of_the_probabilities() -> None:
    student, teachers = _scores(0), [_scores(1), _scores(2), _scores(3)]
    mean = torch.stack([(teacher / 2).softmax(1) for teacher in teachers]).mean(0)
    expected = (mean * (mean.log() - (student / 2).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(mixed_soft_targets(student, teachers, temperature=2, scale="none"), expected)
    torch.testing.assert_close(mixed_soft_targets(student, teachers, temperature=2), 4 * expected)


def test_one_teacher_makes_it_soft_targets_and_more_make_it_smaller_than_their_mean() -> None:
    student, teachers = _scores(0), [_scores(1), _scores(2)]
    each = [soft_targets(student, teacher) for teacher in teachers]
    torch.testing.assert_close(mixed_soft_targets(student, teachers[:1]), each[0])
    assert mixed_soft_targets(student, teachers) < 0.95 * torch.stack(each).mean()


def test_a_student_that_found_the_mix_loses_nothing() -> None:
    teachers = [_scores(1), _scores(2)]
    student = 4 * torch.stack([(teacher / 4).softmax(1) for teacher in teachers]).mean(0).log()
    assert mixed_soft_targets(student, teachers).abs() < 1e-12


def test_the_engine_gives_it_all_branches() -> None:
    term = Term("st_mix", LossTerm(), context(teachers=(TEACHER_CHANNELS, TEACHER_CHANNELS)), where="student.losses")
    student, teachers = features(), [teacher_features(), teacher_features(seed=2)]
    value = term([student], teachers, batch_of())
    value.backward()
    torch.testing.assert_close(value, mixed_soft_targets(student.logits, [t.logits for t in teachers]))
    assert all(teacher.logits.grad is None for teacher in teachers)


@pytest.mark.parametrize(
    ("teachers", "params", "message"),
    [
        ([], {}, "mixes the soft targets of teachers, and there is none"),
        ([_scores(1)], {"temperature": 0}, "st_mix: temperature is 0"),
        ([_scores(1)], {"scale": "t3"}, "unknown scale of st_mix 't3'"),
        ([_scores(1), torch.zeros(4, CLASSES + 1)], {}, "the same classes of the same trials"),
    ],
)
def test_bad_requests_are_refused(teachers: list[Tensor], params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mixed_soft_targets(_scores(0), teachers, **params)
