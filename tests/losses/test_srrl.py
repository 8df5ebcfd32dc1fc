"""Softmax regression representation learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import CLIP, context, features, teacher_features
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.srrl import SoftmaxRegression

GRIDS = ((4, 4), (3, 3), (2, 3), (2, 2))


def _srrl(**params: Any) -> tuple[SoftmaxRegression, torch.nn.Module]:
    torch.manual_seed(0)
    given = context()
    return SoftmaxRegression(given, **params).double(), given.teacher_classifiers[0]


@pytest.mark.parametrize(("features_weight", "scores"), [(1.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
@pytest.mark.parametrize("relu", [True, False])
def test_it_compares_embeddings_and_the_scores_that_the_teacher_gives_them(
    relu: bool, features_weight: float, scores: float
) -> None:
    loss, classifier = _srrl(relu=relu, features=features_weight, scores=scores)
    classifier = classifier.double()
    student, teacher = (make(grids=GRIDS, dtype=torch.float64) for make in (features, teacher_features))
    mixed = F.batch_norm(
        F.conv2d(student.stages[-1], loss.connector[0].weight[:, :, None, None]), None, None, training=True
    )
    own = (mixed.clamp_min(0) if relu else mixed).mean((2, 3))
    expected = features_weight * F.mse_loss(own, teacher.embedding)
    expected = expected + scores * F.mse_loss(classifier(own), classifier(teacher.embedding))
    torch.testing.assert_close(loss(student, teacher), expected)


def test_the_classifier_stays_the_teachers() -> None:
    loss, classifier = _srrl()
    assert not any("classifier" in name for name in loss.state_dict())
    assert all(weight.shape[0] == 7 for weight in loss.parameters())
    loss(features(grids=CLIP, dtype=torch.float64), teacher_features(dtype=torch.float64)).backward()
    assert all(weight.grad is None for weight in classifier.parameters())
    assert all(weight.grad is not None and weight.grad.any() for weight in loss.parameters())


def test_the_students_embedding_is_not_read() -> None:
    loss, _ = _srrl()
    student, teacher = features(dtype=torch.float64), teacher_features(dtype=torch.float64)
    value = loss(student, teacher)
    assert loss(student.replace(embedding=3 * student.embedding), teacher) == value
    value.backward()
    assert student.embedding.grad is None
    assert teacher.embedding.grad is None


def test_the_gradient_is_the_slope() -> None:
    loss, _ = _srrl()
    student, teacher = (make(3, grids=GRIDS, dtype=torch.float64) for make in (features, teacher_features))

    def value(last: Tensor) -> Tensor:
        return loss(student.replace(stages=(*student.stages[:3], last)), teacher)

    torch.autograd.gradcheck(value, student.stages[-1])


@pytest.mark.parametrize("params", [{"features": -1.0}, {"features": 0, "scores": 0}])
def test_weights_that_leave_nothing_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"srrl: features is .* and scores"):
        _srrl(**params)


def test_unlike_batches_are_refused() -> None:
    with pytest.raises(UsageError, match="srrl: the student has 4 samples, the teacher 5"):
        _srrl()[0](features(4, dtype=torch.float64), teacher_features(dtype=torch.float64))
