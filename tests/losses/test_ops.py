"""What runs in place of a formula has the formula's values and gradients."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.losses import _ops, at, dist, distances, maps, rkd


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _triples(coinciding: bool) -> tuple[Tensor, ...]:
    points = _normal(7, 3), _normal(7, 4, seed=1)
    if coinciding:
        points[0][3] = points[0][5]
    squares = [(x[:, None] - x).square().sum(2) for x in points]
    return tuple(part for distance in squares for part in (distance, distance > 0))


def _scores(certain: bool) -> tuple[Tensor, ...]:
    ours, theirs = (_normal(5, 4, seed=seed).softmax(1) for seed in (0, 1))
    if certain:
        ours[:, 0] = 0.25
    return ours, theirs


CASES = {
    "angles": (rkd._angle_loss, _triples(False)),
    "angles with samples that coincide": (rkd._angle_loss, _triples(True)),
    "correlations": (dist._distance, (*_scores(False), 2.0, 3.0, 1e-8)),
    "correlations of a constant column": (dist._distance, (*_scores(True), 2.0, 3.0, 1e-8)),
    "correlations below eps": (dist._distance, (*_scores(False), 2.0, 3.0, 0.5)),
    "energy of a series": (at._energy, (_normal(3, 4, 5),)),
    "energy of a large clip": (at._energy, (100 * _normal(3, 4, 2, 5, 5),)),
    "squared distances": (distances._squared_distances, (_normal(6, 3), None)),
    "squared distances far from zero": (distances._squared_distances, (_normal(6, 3) + 50, torch.float64)),
    "maxima of a series": (maps._window_max, (_normal(2, 3, 8), (2,))),
    "maxima of an image": (maps._window_max, (_normal(2, 3, 4, 6), (2, 3))),
    "maxima that are equal": (maps._window_max, (torch.ones(2, 3, 4, 4, 4, dtype=torch.float64), (2, 2, 2))),
}


@pytest.mark.parametrize(("compute", "arguments"), CASES.values(), ids=CASES)
def test_the_operation_is_the_formula(compute: Any, arguments: tuple[Any, ...]) -> None:
    results = []
    for function in (compute, compute.__wrapped__):
        first = arguments[0].clone().requires_grad_()
        value = function(first, *arguments[1:])
        (value * _normal(*value.shape, seed=5)).sum().backward()
        results.append((value.detach(), first.grad))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-10)


def test_every_operation_stands_for_a_formula() -> None:
    operations = set()
    for found in pkgutil.iter_modules(_ops.__path__):
        module = importlib.import_module(f"{_ops.__name__}.{found.name}")
        classes = [part for _, part in inspect.getmembers(module, inspect.isclass)]
        operations |= {part for part in classes if part.__module__ == module.__name__}
    assert {inspect.getclosurevars(compute).nonlocals["operation"] for compute, _ in CASES.values()} == operations
