"""Class attention transfer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_cases import context, features, teacher_features, waves
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.cat_kd import ClassAttention
from kdbench.types import Context, Widths

CLASSES = 5


def _networks(side: int = 8) -> tuple[Context, Tensor, Tensor]:
    layers, maps = [], []
    for number, width in enumerate((3, 4)):
        layer = nn.Linear(width, CLASSES).double()
        with torch.no_grad():
            layer.weight.copy_(5 * waves(CLASSES, width, phase=2.0 + 2 * number))
        maps.append(waves(4, width, side, side, phase=float(number)))
        layers.append(layer.requires_grad_(number == 0))
    widths = [Widths(CLASSES, (width,) * 4, width) for width in (3, 4)]
    built = Context(
        CLASSES, widths[0], (widths[1],), student_classifiers=(layers[0],), teacher_classifiers=(layers[1],)
    )
    return built, maps[0], maps[1]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("cells", [1, 2, 4])
def test_it_compares_where_each_class_is_seen(cells: int, normalise: bool) -> None:
    built, student, teacher = _networks()
    seen = []
    for maps, layer in ((student, built.student_classifiers[0]), (teacher, built.teacher_classifiers[0])):
        weight = layer.weight.detach().numpy()  # type: ignore[operator]
        activations = np.einsum("kc,bchw->bkhw", weight, maps.numpy())
        pooled = (
            activations.reshape(4, CLASSES, cells, 8 // cells, cells, 8 // cells).mean((3, 5)).reshape(4, CLASSES, -1)
        )
        seen.append(pooled / np.linalg.norm(pooled, axis=2, keepdims=True) if normalise else pooled)
    value = ClassAttention(built, cells=cells, normalise=normalise)((student,) * 4, (teacher,) * 4)
    assert value.item() == pytest.approx(np.mean((seen[0] - seen[1]) ** 2), rel=1e-10)


def test_it_is_the_authors() -> None:
    # GzyAftermath/CAT-KD, CAT_loss(CAM_RESOLUTION=2, IF_NORMALIZE=True) in float64.
    built, student, teacher = _networks()
    value = ClassAttention(built)((student,) * 4, (teacher,) * 4)
    assert value.item() == pytest.approx(0.4988347382536108, rel=1e-12)


def test_the_gradient_is_that_of_the_value_and_reaches_the_students_classifier_alone() -> None:
    built, student, teacher = _networks(side=4)
    loss = ClassAttention(built)
    ours, theirs = built.student_classifiers[0], built.teacher_classifiers[0]
    weight = ours.weight
    assert isinstance(weight, Tensor)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, _weight: loss((x,) * 4, (teacher,) * 4), (student, weight))
    loss((student,) * 4, (teacher,) * 4).backward()
    assert weight.grad is not None
    assert all(parameter.grad is None for parameter in theirs.parameters())
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_a_class_that_is_seen_nowhere_has_no_direction_and_no_gradient() -> None:
    built, student, teacher = _networks()
    nothing = torch.zeros_like(student).requires_grad_()
    value = ClassAttention(built)((nothing,) * 4, (teacher,) * 4)
    value.backward()
    # The teacher's maps have length 1 over 4 cells.
    assert value.item() == pytest.approx(1 / 4)
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_clips_series_and_images_meet() -> None:
    for grids in (((16,), (8,), (4,), (3,)), ((4, 8, 8), (4, 4, 4), (2, 3, 3), (2, 2, 2))):
        student = features(grids=grids)
        teacher = teacher_features(grids=((6, 6), (3, 3), (2, 2), (2, 2)))
        value = ClassAttention(context())(student.stages, teacher.stages)
        value.backward()
        assert value.isfinite()
        assert student.stages[-1].grad is not None


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="cat_kd: cells is 0, expected a positive number"):
        ClassAttention(context(), cells=0)
    with pytest.raises(UsageError, match="cat_kd compares one branch with one, and the student has 0 classifiers"):
        ClassAttention(Context(6, *[Widths(6, (4, 5, 8, 7), 7)] * 1, (Widths(6, (4, 5, 8, 7), 7),)))
