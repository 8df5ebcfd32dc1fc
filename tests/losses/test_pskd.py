"""Adaptive choice among teachers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from loss_cases import CLASSES, TEACHER_CHANNELS, batch_of, context, features, teacher_features
from torch import Tensor

from kdbench.engine.objective import Term
from kdbench.errors import UsageError
from kdbench.losses.pskd import AdaptiveTeacher
from kdbench.recipes.terms import LossTerm
from kdbench.types import Features

TWO = (TEACHER_CHANNELS, TEACHER_CHANNELS)


def _teachers() -> list[Features]:
    """Of five samples with the labels 0 … 4: the first teacher knows 0 and 1, the second 1 and 2, neither 3 and 4."""
    known = [(4.0, 3.0, 0.0, -1.0, 0.0), (0.0, 5.0, 4.0, 0.0, -1.0)]
    found = []
    for number, heights in enumerate(known):
        given = teacher_features(seed=number + 1)
        logits = 0.1 * given.logits.detach()
        logits[:, CLASSES - 1] += 2
        logits[torch.arange(5), torch.arange(5)] = torch.tensor(heights)
        found.append(given.replace(logits=logits.requires_grad_()))
    return found


def _by_hand(student: Features, teachers: list[Features], vectors: Tensor, mu: float) -> float:
    soft, semantic = 0.0, 0.0
    for b in range(5):
        sure = [teacher.logits[b].softmax(0)[b].item() for teacher in teachers]
        chosen = teachers[sure.index(max(sure))]
        target = vectors[b]
        if chosen.logits[b].argmax() == b:
            p, q = (chosen.logits[b] / 4).softmax(0), (student.logits[b] / 4).softmax(0)
            soft += 16 * (p * (p / q).log()).sum().item()
            target = chosen.semantic[b]
        semantic += (student.semantic[b] - target).square().mean().item()
    return soft / 5 + mu * semantic / 5


@pytest.mark.parametrize("mu", [0.0, 1.0, 2.5])
def test_each_sample_follows_the_surest_teacher_or_the_label(mu: float) -> None:
    setting, student, teachers = context(teachers=TWO), features(), _teachers()
    loss = AdaptiveTeacher(setting, semantic_weight=mu)
    value = loss(student, teachers, batch_of())
    assert setting.label_vectors is not None
    assert value.item() == pytest.approx(_by_hand(student, teachers, setting.label_vectors, mu), rel=1e-5)
    torch.testing.assert_close(loss.diagnostics()["followed"], torch.tensor(0.6))


def test_a_sample_that_no_teacher_knows_gets_no_soft_targets() -> None:
    student = features()
    AdaptiveTeacher(context(teachers=TWO), semantic_weight=0)(student, _teachers(), batch_of()).backward()
    reached = student.logits.grad.abs().sum(1) > 0
    assert reached.tolist() == [True, True, True, False, False]


def test_the_order_of_the_teachers_has_no_effect() -> None:
    loss, student, teachers = AdaptiveTeacher(context(teachers=TWO)), features(), _teachers()
    torch.testing.assert_close(loss(student, teachers[::-1], batch_of()), loss(student, teachers, batch_of()))


def test_the_engine_gives_it_all_branches_and_no_gradient_reaches_them() -> None:
    term = Term("pskd", LossTerm(), context(teachers=TWO), where="student.losses.pskd")
    student, teachers = features(), _teachers()
    value = term([student], teachers, batch_of())
    value.backward()
    torch.testing.assert_close(value, AdaptiveTeacher(context(teachers=TWO))(student, teachers, batch_of()))
    assert all(teacher.logits.grad is None and teacher.semantic.grad is None for teacher in teachers)


def test_a_teacher_without_semantic_feature_is_refused_before_any_training() -> None:
    setting = context(teachers=TWO)
    without = replace(setting, teachers=tuple(replace(widths, semantic=None) for widths in setting.teachers))
    with pytest.raises(UsageError, match="teacher has none") as caught:
        AdaptiveTeacher(without)
    assert "--set student.losses.pskd.semantic_weight=0" in str(caught.value)
    teachers = [teacher.replace(semantic=None) for teacher in _teachers()]
    value = AdaptiveTeacher(without, semantic_weight=0)(features(), teachers, batch_of())
    assert value > 0
    with pytest.raises(UsageError, match="a network gave none"):
        AdaptiveTeacher(setting)(features(), teachers, batch_of())


THREE = ("imu", "imu", "body", "both")


@pytest.mark.parametrize(
    ("names", "stages", "progress", "places"),
    [
        (THREE, 1, 0.0, [0, 1, 2, 3]),
        (THREE, 3, 0.0, [0, 1]),
        (THREE, 3, 0.34, [0, 1, 2]),
        (THREE, 3, 0.99, [0, 1, 2, 3]),
        (THREE, 2, 0.49, [0, 1, 2]),
        (("imu",) * 4, 4, 0.3, [0, 1]),
        ((), 2, 0.0, [0, 1, 2]),
    ],
)
def test_teachers_join_stage_by_stage(names: tuple[str, ...], stages: int, progress: float, places: list[int]) -> None:
    setting = replace(context(teachers=TWO + TWO), teacher_names=names)
    student, teachers = features(), [*_teachers(), *(teacher_features(seed=seed) for seed in (5, 6))]
    loss = AdaptiveTeacher(setting, stages=stages)
    loss.at(progress)
    alone = AdaptiveTeacher(context(teachers=(TEACHER_CHANNELS,) * len(places)))
    expected = alone(student, [teachers[place] for place in places], batch_of())
    torch.testing.assert_close(loss(student, teachers, batch_of()), expected)


@pytest.mark.parametrize(("stages", "count"), [(0, "4 teachers"), (5, "4 teachers")])
def test_stages_that_there_are_not_are_refused(stages: int, count: str) -> None:
    with pytest.raises(UsageError, match=f"pskd: stages = {stages}, and there are {count}"):
        AdaptiveTeacher(context(teachers=TWO + TWO), stages=stages)


@pytest.mark.parametrize(
    ("change", "params", "message"),
    [
        ({}, {"temperature": -2}, "pskd: temperature is -2"),
        ({}, {"scale": "t"}, "unknown scale of pskd 't'"),
        ({"teachers": ()}, {}, "'pskd' chooses among teachers, and there is none"),
        ({"label_vectors": None}, {}, "'pskd' needs vectors of the label names"),
    ],
)
def test_bad_requests_are_refused(change: dict[str, Any], params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AdaptiveTeacher(replace(context(teachers=TWO), **change), **params)
