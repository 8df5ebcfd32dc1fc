"""DOT: one momentum for the labels' gradient and one for the teacher's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import StopAfter, tiny
from torch import Tensor

from kdbench.engine.dot import DistillationOriented
from kdbench.errors import Interrupted, UsageError
from kdbench.recipes.resolve import resolve

SGD = ["student.train.optimizer=sgd", "student.train.lr=0.05"]
DOT = ["student.train.optimizer.name=dot", "student.train.lr=0.05"]


def _losses(weights: Tensor, only_task: Tensor, only_taught: Tensor, step: int) -> tuple[Tensor, Tensor]:
    task = (weights * torch.tensor([1.0, -2.0]) * (step + 1)).sum() + only_task.square().sum()
    return task, (weights.square() * torch.tensor([0.5, 3.0])).sum() + (only_taught - step).square().sum()


def _parameters() -> list[Tensor]:
    return [torch.tensor(values, requires_grad=True) for values in ([1.0, 0.5], [2.0], [-1.0])]


def test_it_follows_the_update_of_its_paper() -> None:
    parameters, lr, momentum, delta, decay = _parameters(), 0.1, 0.8, 0.1, 0.01
    optimizer = DistillationOriented([{"params": parameters, "weight_decay": decay}], lr, momentum, delta)
    weights, task_alone, taught_alone = (parameter.detach().numpy().astype(float).copy() for parameter in parameters)
    v_task, v_taught, v_a, v_b = np.zeros(2), np.zeros(2), np.zeros(1), np.zeros(1)
    for step in range(4):
        optimizer.backward(*_losses(*parameters, step))
        optimizer.step()
        v_task = np.array([1.0, -2.0]) * (step + 1) + decay * weights + (momentum - delta) * v_task
        v_taught = 2 * weights * np.array([0.5, 3.0]) + (momentum + delta) * v_taught
        v_a = 2 * task_alone + decay * task_alone + momentum * v_a
        v_b = 2 * (taught_alone - step) + decay * taught_alone + momentum * v_b
        weights = weights - lr * (v_task + v_taught)
        task_alone, taught_alone = task_alone - lr * v_a, taught_alone - lr * v_b
        for parameter, expected in zip(parameters, (weights, task_alone, taught_alone), strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (0.0, ([-1.1986, 1.1156999999999997], [-0.3584], [1.7712])),
        # At its first step, that code leaves the decay out for what the teacher's terms alone reach.
        (0.01, ([-1.202094845599, 1.1146728029504998], [-0.3660617711980001], None)),
    ],
)
def test_it_ends_where_the_authors_optimizer_ends(decay: float, expected: tuple[list[float] | None, ...]) -> None:
    """DistillationOrientedTrainer of megvii-research/mdistiller, a08d46f, after four steps in float64."""
    parameters = [parameter.detach().double().requires_grad_() for parameter in _parameters()]
    optimizer = DistillationOriented([{"params": parameters, "weight_decay": decay}], 0.1, 0.8, 0.1)
    for step in range(4):
        optimizer.backward(*_losses(*parameters, step))
        optimizer.step()
    for parameter, values in zip(parameters, expected, strict=True):
        assert values is None or parameter.tolist() == pytest.approx(values, rel=1e-12)


def test_with_one_momentum_it_is_sgd() -> None:
    own, other = _parameters(), _parameters()
    dot = DistillationOriented([{"params": own, "weight_decay": 0.01}], 0.1, 0.8, 0.0)
    sgd = torch.optim.SGD(other, 0.1, momentum=0.8, weight_decay=0.01)
    for step in range(4):
        dot.backward(*_losses(*own, step))
        dot.step()
        sgd.zero_grad()
        sum(_losses(*other, step)).backward()  # type: ignore[union-attr]
        sgd.step()
    for parameter, expected in zip(own, other, strict=True):
        torch.testing.assert_close(parameter, expected)


def test_the_norm_that_is_clipped_is_that_of_the_sum() -> None:
    parameters = _parameters()
    optimizer = DistillationOriented([{"params": parameters, "weight_decay": 0.0}], 1.0, 0.0, 0.0)
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer.backward(*_losses(*parameters, 0))
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    assert norm > 1
    optimizer.clip(norm, 1.0)
    optimizer.step()
    moved = torch.cat([(b - p.detach()).flatten() for b, p in zip(before, parameters, strict=True)])
    assert moved.norm().item() == pytest.approx(1.0, rel=1e-5)


def test_an_interrupted_training_goes_on_with_both_moments(tmp_path: Path) -> None:
    changes = ["student.train.epochs=4", *DOT]
    whole = tiny("hinton_raw", tmp_path / "whole", *changes)
    with pytest.raises(Interrupted):
        tiny("hinton_raw", tmp_path / "parts", *changes, reporter=StopAfter("student", 2))
    resumed = tiny("hinton_raw", tmp_path / "parts", *changes)
    assert resumed.metrics == whole.metrics
    sgd = tiny("hinton_raw", tmp_path / "whole", "student.train.epochs=4", *SGD)
    assert sgd.folder != whole.folder
    assert whole.result["conditions"]["train"]["optimizer"] == {"name": "dot", "momentum": 0.9, "delta": 0.075}


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ("student_only", [], "none of its losses compares with a teacher"),
        ("hinton_raw", ["student.losses.ce=null"], "all of its losses do"),
        ("hinton_raw", ["student.balance.name=uncertainty"], "a balance adapts them"),
    ],
)
def test_it_is_refused_where_there_is_nothing_to_tell_apart(
    method: str, changes: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        tiny(method, tmp_path, *DOT, *changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["student.train.optimizer={name: sgd, delta: 0.2}"], "sgd has one momentum"),
        (["student.train.optimizer={name: dot, momentum: 0.95}"], "both momenta"),
        (["student.train.optimizer=adagrad"], "optimizer"),
    ],
)
def test_an_optimizer_that_makes_no_sense_is_refused(changes: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve("kd", "smoke", changes)
