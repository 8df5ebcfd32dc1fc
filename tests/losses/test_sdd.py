"""Scale decoupled distillation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_cases import IMAGE, batch_of, classifier, context, features, teacher_features, waves
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.dkd import decoupled
from kdbench.losses.sdd import ScaleDecoupled
from kdbench.types import Batch, Context, Features, Widths

LABEL = torch.tensor([0, 3, 1, 2])


def _networks(
    classes: int = 5, side: int = 8, channels: tuple[int, int] = (3, 4)
) -> tuple[Context, Features, Features, Batch]:
    """Two networks whose logits are the classifier's of the mean of the last map."""
    layers, sides = [], []
    for number, width in enumerate(channels):
        layer = nn.Linear(width, classes).double()
        with torch.no_grad():
            layer.weight.copy_(5 * waves(classes, width, phase=2.0 + 2 * number))
            layer.bias.copy_(waves(classes, phase=3.0 + 2 * number))
        last = waves(4, width, side, side, phase=float(number)).requires_grad_(number == 0)
        sides.append(Features(layer(last.mean((2, 3))), (last,) * 4, last.mean((2, 3))))
        layers.append(layer)
    widths = [Widths(classes, (width,) * 4, width) for width in channels]
    built = Context(
        classes,
        widths[0],
        (widths[1],),
        student_classifiers=(layers[0],),
        teacher_classifiers=(layers[1].requires_grad_(False),),
    )
    return built, *sides, batch_of(4).replace(label=LABEL)  # type: ignore[return-value]


def _formula(built: Context, student: Features, teacher: Features, scales: tuple[int, ...], emphasis: float) -> Tensor:
    """Cell by cell, each by `dkd` on one row."""
    terms = []
    for row, label in enumerate(LABEL.tolist()):
        one = batch_of(1).replace(label=LABEL[row : row + 1])
        right = int(teacher.logits[row].argmax()) == label
        for scale in scales:
            size = student.stages[-1].shape[2] // scale
            for i in range(scale):
                for j in range(scale):
                    window = (slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size))
                    ours, theirs = (
                        layer(side.stages[-1][row][:, *window].mean((1, 2)))[None]
                        for side, layer in (
                            (student, built.student_classifiers[0]),
                            (teacher, built.teacher_classifiers[0]),
                        )
                    )
                    agrees = (int(theirs.argmax()) == label) == right
                    terms.append((1 if agrees else emphasis) * decoupled(ours, theirs, batch=one))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("scales", [(1, 2, 4), (2,), (1, 8)])
def test_it_is_dkd_of_every_cell_with_more_weight_on_contradictions(scales: tuple[int, ...]) -> None:
    built, student, teacher, batch = _networks()
    value = ScaleDecoupled(built, scales=scales, emphasis=3.0)(student, teacher, batch)
    torch.testing.assert_close(value, _formula(built, student, teacher, scales, 3.0), rtol=1e-9, atol=0)


def test_it_is_the_authors() -> None:
    # shicaiwei123/SDD-CVPR2024, SPP("[1,2,4]") and multi_dkd(alpha=1, beta=8, temperature=4) in float64.
    built, student, teacher, batch = _networks()
    assert ScaleDecoupled(built)(student, teacher, batch).item() == pytest.approx(422.0158640296908, rel=1e-12)


def test_the_whole_map_alone_is_dkd() -> None:
    built, student, teacher, batch = _networks()
    value = ScaleDecoupled(built, scales=[1])(student, teacher, batch)
    torch.testing.assert_close(value, decoupled(student.logits, teacher.logits, batch=batch))


def test_a_map_with_fewer_positions_counts_each_of_them_once() -> None:
    for side, scales in ((2, (1, 2)), (1, (1,))):
        built, student, teacher, batch = _networks(side=side)
        value = ScaleDecoupled(built, scales=(1, 2, 4))(student, teacher, batch)
        assert value == ScaleDecoupled(built, scales=scales)(student, teacher, batch)


def test_the_gradient_is_that_of_the_value_and_reaches_the_students_classifier_alone() -> None:
    built, student, teacher, batch = _networks(side=4)
    loss = ScaleDecoupled(built, scales=(1, 2))
    ours, theirs = built.student_classifiers[0], built.teacher_classifiers[0]
    last = student.stages[-1].detach().requires_grad_()

    def value(x: Tensor, *_parameters: Tensor) -> Tensor:
        moved: Tensor = loss(student.replace(logits=ours(x.mean((2, 3))), stages=(x,) * 4), teacher, batch)
        return moved

    assert torch.autograd.gradcheck(value, (last, *ours.parameters()))
    value(last).backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())
    assert all(parameter.grad is None for parameter in theirs.parameters())
    assert not list(loss.parameters())
    assert not loss.state_dict()


def test_without_a_label_the_teachers_class_is_the_target() -> None:
    built, student, teacher, batch = _networks()
    told = batch.replace(label=teacher.logits.argmax(1))
    loss = ScaleDecoupled(built)
    assert loss(student, teacher, batch.replace(label=torch.full((4,), -1))) == loss(student, teacher, told)


def test_clips_series_and_images_meet() -> None:
    for grids in (IMAGE, ((16,), (8,), (4,), (3,)), ((4, 8, 8), (4, 4, 4), (2, 3, 3), (2, 2, 2))):
        student = features(grids=grids)
        value = ScaleDecoupled(context())(student, teacher_features(grids=((6, 6), (3, 3), (2, 2), (2, 2))), batch_of())
        value.backward()
        assert value.isfinite()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": 0}, "sdd: temperature is 0, expected a positive number"),
        ({"scales": []}, r"sdd: scales is \[\], expected numbers of cells along an axis"),
        ({"scales": [0, 1]}, r"sdd: scales is \[0, 1\]"),
        ({"scales": [1.5]}, r"sdd: scales is \[1.5\]"),
    ],
)
def test_bad_requests_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ScaleDecoupled(context(), **params)


def test_networks_whose_embedding_is_no_mean_of_the_last_map_are_refused() -> None:
    widths = Widths(6, (4, 5, 8, 7), 12)
    built = Context(6, widths, (widths,), student_classifiers=(classifier(12),), teacher_classifiers=(classifier(12),))
    with pytest.raises(UsageError, match="sdd applies the student's classifier to its last map, which has 7 channels"):
        ScaleDecoupled(built)
    with pytest.raises(UsageError, match="sdd compares one branch with one, and the student has 0 classifiers"):
        ScaleDecoupled(Context(6, widths, (widths,)))
