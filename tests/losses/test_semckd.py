"""Semantic calibration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import CLIP, context, features, teacher_features
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.semckd import SemanticCalibration

GRIDS = ((6, 6), (4, 4), (2, 2), (1, 1))


def _semckd(**params: Any) -> SemanticCalibration:
    torch.manual_seed(0)
    return SemanticCalibration(context(), **{"samples": 8, **params}).double()


def _stages(samples: int = 8, grids: Any = GRIDS) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    student = features(samples, grids=grids, dtype=torch.float64)
    teacher = teacher_features(samples, grids=GRIDS, dtype=torch.float64)
    return student.stages, tuple(stage.detach() for stage in teacher.stages)


def _regressed(regress: nn.Module, feature: Tensor) -> Tensor:
    """The regressor written with PyTorch's own layers for images."""
    first, second, third = regress[0].weight, regress[3].weight, regress[6].weight
    x = F.relu(F.batch_norm(F.conv2d(feature, first[:, :, None, None]), None, None, training=True))
    x = F.relu(F.batch_norm(F.conv2d(x, second[:, :, 1], padding=1), None, None, training=True))
    return F.conv2d(x, third[:, :, None, None])


def _unit(embed: nn.Module, rows: Tensor) -> Tensor:
    hidden = (rows @ embed[0].weight.T + embed[0].bias).clamp_min(0)
    read = hidden @ embed[2].weight.T + embed[2].bias
    return read / read.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("columns", ["sorted", "batch"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_pairs_of_stages_are_weighted_by_the_attention_of_their_relations(columns: Any, temperature: float) -> None:
    (student, teacher), loss = _stages(), _semckd(columns=columns, temperature=temperature)
    rows = []
    for maps in (student, teacher):
        products = [feature.flatten(1) @ feature.flatten(1).T for feature in maps]
        rows.append([x.sort(1, descending=True).values if columns == "sorted" else x for x in products])
    queries = [_unit(embed, row) for embed, row in zip(loss.queries, rows[0], strict=True)]
    keys = [_unit(embed, row) for embed, row in zip(loss.keys, rows[1], strict=True)]
    terms = []
    for sample in range(8):
        for own, query in enumerate(queries):
            shares = torch.stack([query[sample] @ key[sample] / temperature for key in keys]).softmax(0)
            for target, share in enumerate(shares):
                size = min(GRIDS[own][0], GRIDS[target][0])
                source = F.adaptive_avg_pool2d(student[own], size)
                wanted = F.adaptive_avg_pool2d(teacher[target], size)
                made = _regressed(loss.regressors[own][target], source)
                terms.append(share * (made[sample] - wanted[sample]).square().mean())
    torch.testing.assert_close(loss(student, teacher), torch.stack(terms).sum() / (8 * 4))


def test_a_sorted_row_is_read_at_evenly_spaced_places() -> None:
    feature = torch.tensor([[1.0], [0.0], [3.0]])
    rows = _semckd(samples=5)._row(feature)
    torch.testing.assert_close(rows[0], torch.tensor([3.0, 2.0, 1.0, 0.5, 0.0]))
    torch.testing.assert_close(_semckd(samples=5)._row(feature[2:])[0], torch.full((5,), 9.0))


@pytest.mark.parametrize(("samples", "row"), [(4, [1.0, 0.0, 3.0, 0.0]), (2, [1.0, 0.0])])
def test_a_row_in_the_order_of_the_batch_is_cut_or_filled_up(samples: int, row: list[float]) -> None:
    loss = _semckd(samples=samples, columns="batch", reduction_factor=2)
    torch.testing.assert_close(loss._row(torch.tensor([[1.0], [0.0], [3.0]]))[0], torch.tensor(row))


@pytest.mark.parametrize("samples", [1, 2, 5, 13])
def test_batches_of_every_size_are_read_and_their_order_has_no_effect(samples: int) -> None:
    (student, teacher), loss = _stages(samples), _semckd()
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    value = loss(student, teacher)
    other = loss([stage[order] for stage in student], [stage[order] for stage in teacher])
    torch.testing.assert_close(other, value)


def test_clips_are_compared_and_every_part_learns() -> None:
    (student, teacher), loss = _stages(grids=CLIP), _semckd()
    loss(student, teacher).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in loss.parameters())
    assert all(stage.grad is not None and stage.grad.any() for stage in student)
    assert 0.25 <= loss.diagnostics()["attention"] <= 1


def test_the_gradient_is_the_slope() -> None:
    (student, teacher), loss = _stages(3, ((2, 2),) * 4), _semckd(stages=[2, 3], samples=4)
    torch.autograd.gradcheck(lambda *x: loss([*student[:2], *x], teacher), student[2:], fast_mode=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": 0}, "semckd: temperature is 0"),
        ({"reduction_factor": 0}, "semckd: reduction_factor is 0"),
        ({"width_factor": 0}, "semckd: width_factor is 0"),
        ({"columns": "sort"}, "did you mean 'sorted'"),
        ({"samples": 3}, "semckd: samples is 3, expected at least"),
        ({"stages": [4]}, "stage 4 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _semckd(**params)
