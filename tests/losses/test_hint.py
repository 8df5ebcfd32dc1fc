"""FitNets' hints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import TEACHER_CHANNELS, batch_of, built, features, teacher_features
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.hint import hint


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_the_reductions_are_the_mean_the_sum_and_half_the_sum_of_a_sample() -> None:
    student = [torch.tensor([[[1.0, 2.0]], [[0.0, 4.0]]])]
    teacher = [torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]])]
    for reduction, expected in (("mean", 14 / 4), ("sum", 14.0), ("paper", 14 / 2 / 2)):
        assert hint(student, teacher, stages=[0], reduction=reduction).item() == pytest.approx(expected)


def test_the_second_stage_is_the_hint_and_chosen_stages_are_summed() -> None:
    shapes = ((2, 3, 4), (2, 4, 3), (2, 5, 2))
    student, teacher = _maps(*shapes), _maps(*shapes, seed=1)
    each = [hint(student, teacher, stages=[stage]) for stage in range(3)]
    torch.testing.assert_close(hint(student, teacher), each[1])
    torch.testing.assert_close(hint(student, teacher, stages=None), sum(each))


def test_unlike_grids_are_aligned_first() -> None:
    student, teacher = _maps((2, 3, 5, 4, 4)), _maps((2, 3, 2, 2), seed=1)
    pooled = [torch.nn.functional.avg_pool2d(student[0].mean(2), 2)]
    torch.testing.assert_close(hint(student, teacher, stages=[0]), hint(pooled, teacher, stages=[0]))


def test_a_learnt_linear_brings_the_student_to_the_width_of_the_teacher() -> None:
    loss = built("hint")
    loss(features(), teacher_features(), batch_of()).backward()
    assert {tuple(weight.shape) for weight in loss.parameters() if weight.grad is not None} == {(5, 6), (5,)}
    assert not list(built("hint", student=TEACHER_CHANNELS).parameters())


def test_bad_requests_are_refused() -> None:
    student, teacher = _maps((2, 3, 4)), _maps((2, 5, 4))
    with pytest.raises(UsageError, match=r"hint: the student has 3 channels, the teacher 5(.|\n)*learnt linear"):
        hint(student, teacher, stages=[0])
    with pytest.raises(UsageError, match="did you mean 'paper'"):
        hint(student, student, stages=[0], reduction="papers")
    with pytest.raises(UsageError, match="stage 1 is asked for"):
        hint(student, student)


def test_squashed_it_is_the_hallucination_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.randn(3, 4, 5, 5, generator=generator)] for _ in range(2))
    own, other = (1 / (1 + np.exp(-maps[0].double().numpy())) for maps in (ours, theirs))
    value = hint(ours, theirs, stages=[0], reduction="sum", squash=True)
    assert value.item() == pytest.approx(((own - other) ** 2).sum(), rel=1e-5)
