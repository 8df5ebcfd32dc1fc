"""The paper's sizes: one step of both phases with Swin-T and Video Swin-T on the CPU."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from kdbench.engine.loop import Training
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher, teacher_training
from kdbench.types import Features


def one_step(training: Training, count: int) -> tuple[list[Features], dict[str, float]]:
    """Takes one full step; the features of each branch, and the value of each term."""
    training.begin()
    batch = next(iter(training.loader.batches(list(range(count)), count)))
    before = [p.detach().clone() for p in training.network.parameters()]
    features, loss, values, _ = training.forward(batch, 1, 0)
    assert training.backward(loss, values).isfinite()
    assert any(not torch.equal(a, b) for a, b in zip(before, training.network.parameters(), strict=True))
    return features, dict(zip(training.objective.names, values.tolist(), strict=True))


@pytest.mark.slow
def test_one_step_of_sgm_ft_at_the_papers_sizes(tmp_path: Path) -> None:
    overrides = [
        "data.options={actions: 2, subjects: 2, trials: 1}",
        "semantics.name=table",
        "teacher.encoder.weights=random",
        "student.encoder.weights=random",
        "teacher.train.batch_size=2",
        "student.train.batch_size=2",
    ]
    context = context_for(RunRequest("sgm_ft", "motionsim", preset="paper", overrides=overrides, device="cpu"))
    recipe = context.run_spec.recipe
    assert recipe.teacher is not None
    assert recipe.student is not None
    network = context.build("teacher", recipe.teacher)
    _, terms = one_step(teacher_training(context, context.run_spec.teacher_parts[0], network, tmp_path), 2)
    assert terms["ce"] == pytest.approx(math.log(2), abs=0.7)
    teacher = [Teacher(network.eval(), tmp_path, {}, context, context.run_spec.teacher_parts[0])]
    training = student_training(context, recipe.student, teacher, tmp_path)
    (features,), terms = one_step(training, 1)
    grids = [tuple(stage.shape[1:]) for stage in features.stages]
    assert grids == [(96, 16, 56, 56), (192, 16, 28, 28), (384, 16, 14, 14), (768, 16, 7, 7)]
    assert set(terms) == {"ce", "st", "sgm", "se"}
    assert all(math.isfinite(value) for value in terms.values())
