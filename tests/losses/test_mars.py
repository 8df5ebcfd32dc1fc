"""Mean squared error of the pooled features."""

from __future__ import annotations

import pytest
import torch
from loss_cases import batch_of, built, features, teacher_features

from kdbench.errors import UsageError
from kdbench.losses.mars import motion_augmented


def test_it_is_the_mean_over_samples_and_features() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    assert motion_augmented(student, teacher).item() == pytest.approx((4 + 9 + 1) / 4)


def test_a_learnt_linear_brings_the_student_to_the_width_of_the_teacher() -> None:
    loss = built("mars")
    loss(features(), teacher_features(), batch_of()).backward()
    assert {tuple(weight.shape) for weight in loss.parameters()} == {(7, 10), (7,)}
    assert all(weight.grad is not None for weight in loss.parameters())


def test_unlike_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="mars: the student has 3 channels, the teacher 4"):
        motion_augmented(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(UsageError, match="mars: the student has 2 samples, the teacher 1"):
        motion_augmented(torch.zeros(2, 3), torch.zeros(1, 3))
