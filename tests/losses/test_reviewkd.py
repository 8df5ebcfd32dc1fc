"""Knowledge review."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import CLIP, IMAGE, STUDENT_CHANNELS, TEACHER_CHANNELS, context, features, teacher_features
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.reviewkd import KnowledgeReview, _on_all_scales
from kdbench.types import Features

GRIDS = ((8, 8), (8, 8), (4, 4), (2, 2))


def _review(**params: Any) -> KnowledgeReview:
    torch.manual_seed(0)
    return KnowledgeReview(context(), **params).double()


def _features(samples: int = 5, student: Any = GRIDS, teacher: Any = GRIDS) -> tuple[Features, Features]:
    return (
        features(samples, grids=student, dtype=torch.float64),
        teacher_features(samples, grids=teacher, dtype=torch.float64),
    )


def _fused(fusion: nn.Module, own: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
    """One stage of the review, written with PyTorch's own layers for images."""
    x = F.batch_norm(F.conv2d(own, fusion.inward[0].weight[:, :, None, None]), None, None, training=True)
    if deeper is not None:
        times = own.shape[2] // deeper.shape[2]
        y = deeper.repeat_interleave(times, 2).repeat_interleave(times, 3)
        weight, bias = fusion.attention.weight[:, :, None, None], fusion.attention.bias
        a, b = F.conv2d(torch.cat([x, y], 1), weight, bias).sigmoid().split(1, 1)
        x = a * x + b * y
    made = F.batch_norm(F.conv2d(x, fusion.outward[0].weight[:, :, 1], padding=1), None, None, training=True)
    return x, made


def _scales(made: Tensor, target: Tensor) -> Tensor:
    total, weight, weights = F.mse_loss(made, target), 1.0, 1.0
    for size in (4, 2, 1):
        if size < made.shape[2]:
            window = made.shape[2] // size
            weight /= 2
            weights += weight
            total = total + weight * F.mse_loss(F.avg_pool2d(made, window), F.avg_pool2d(target, window))
    return total / weights


@pytest.mark.parametrize("pooled", [True, False])
def test_every_stage_is_fused_with_the_deeper_ones_and_compared_on_all_scales(pooled: bool) -> None:
    (student, teacher), loss = _features(), _review(pooled=pooled)
    pairs = list(zip(student.stages, teacher.stages, strict=True))
    if pooled:
        pairs.append((student.embedding[:, :, None, None], teacher.embedding[:, :, None, None]))
    total, deeper = torch.zeros((), dtype=torch.float64), None
    for fusion, (own, target) in zip(loss.fusions, reversed(pairs), strict=True):
        deeper, made = _fused(fusion, own, deeper)
        total = total + _scales(made, target)
    torch.testing.assert_close(loss(student, teacher), total)


@pytest.mark.parametrize(("size", "scales"), [(8, 4), (5, 4), (4, 3), (2, 2), (1, 1)])
def test_only_smaller_scales_are_pooled_to_and_their_weights_are_averaged(size: int, scales: int) -> None:
    # The difference is the same everywhere, hence on all scales.
    made = torch.randn(2, 3, size, size, dtype=torch.float64)
    torch.testing.assert_close(_on_all_scales(made, made - 0.5), torch.tensor(0.25, dtype=torch.float64))
    if size % 4 == 0:
        # A checkerboard is gone after pooling: its first term alone is left.
        board = (torch.arange(size)[:, None] + torch.arange(size)) % 2 * 2.0 - 1
        value = _on_all_scales(board.expand(1, 1, size, size), torch.zeros(1, 1, size, size))
        assert value.item() == pytest.approx(1 / sum(0.5**scale for scale in range(scales)))


@pytest.mark.parametrize(("student", "teacher"), [(CLIP, IMAGE), (CLIP, CLIP), (CLIP, ((16,), (8,), (4,), (2,)))])
def test_unlike_grids_are_aligned_first(student: Any, teacher: Any) -> None:
    given = _features(student=student, teacher=teacher)
    value = _review()(*given)
    value.backward()
    assert value.isfinite()
    for tensor in (*given[0].stages, given[0].embedding):
        assert tensor.grad is not None
        assert tensor.grad.any()
    assert all(stage.grad is None for stage in given[1].stages)


@pytest.mark.parametrize(("width", "found"), [(512, STUDENT_CHANNELS[-1]), (3, 3)])
def test_the_fused_maps_are_at_most_as_wide_as_the_deepest(width: int, found: int) -> None:
    loss = _review(width=width)
    assert [fusion.inward[0].weight.shape[0] for fusion in loss.fusions] == [found] * 5
    assert [fusion.outward[0].weight.shape[0] for fusion in loss.fusions][1:] == list(reversed(TEACHER_CHANNELS))
    assert [fusion.attention is None for fusion in loss.fusions] == [True, False, False, False, False]


def test_the_gradient_is_the_slope() -> None:
    (student, teacher), loss = _features(2, ((2, 2),) * 4, ((2, 2),) * 4), _review(stages=[2, 3])

    def value(third: Tensor, fourth: Tensor, embedding: Tensor) -> Tensor:
        return loss(student.replace(stages=(*student.stages[:2], third, fourth), embedding=embedding), teacher)

    torch.autograd.gradcheck(value, (*student.stages[2:], student.embedding), fast_mode=True)


@pytest.mark.parametrize(
    ("params", "message"), [({"width": 0}, "reviewkd: width is 0"), ({"stages": [4]}, "stage 4 is asked for")]
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _review(**params)
