"""SimKD: the student predicts by the teacher's classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import WORLD
from loss_cases import batch_of, context, features, teacher_features

from kdbench.encoders.conv import Conv1d
from kdbench.encoders.projected import ProjectedEncoder
from kdbench.engine.term import Term
from kdbench.errors import UsageError
from kdbench.losses.simkd import simkd
from kdbench.recipes.resolve import resolve
from kdbench.recipes.terms import LossTerm
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run
from kdbench.runs.training import records_of
from kdbench.util.records import read_safetensors

SERIES = ["student.encoder={name: conv1d}", "student.augment={}"]
QUICK = ["teacher.train.batch_size=8", "teacher.train.epochs=8", "student.train.epochs=4"]


def test_value_is_the_mean_squared_difference_of_the_last_maps() -> None:
    student, teacher = (tuple(torch.randn(3, 5, 4, 4) for _ in range(4)) for _ in range(2))
    torch.testing.assert_close(simkd(student, teacher), F.mse_loss(student[-1], teacher[-1]))


def test_a_clip_meets_a_series_where_their_means_stay() -> None:
    clip, series = torch.randn(2, 5, 4, 2, 2), torch.zeros(2, 5, 1)
    value = simkd([clip], [series])
    torch.testing.assert_close(value, clip.flatten(2).mean(2).square().mean())


def test_it_is_refused_for_a_student_with_a_classifier_of_its_own() -> None:
    setting = replace(context(), teacher_head=False)
    with pytest.raises(UsageError, match="trains no classifier") as caught:
        Term("simkd", LossTerm(), setting, where="student.losses.simkd")
    assert "head: {of: teacher}" in str(caught.value)
    value = Term("simkd", LossTerm(), context(), where="student.losses.simkd")(
        [features()], [teacher_features()], batch_of()
    )
    assert value > 0


def test_the_projector_has_three_layers_half_as_wide_between() -> None:
    encoder = ProjectedEncoder(Conv1d(3, widths=(4, 6, 8, 10)), 12, kind="series", factor=2)
    maps, embedding = encoder(torch.randn(2, 3, 64))
    assert [x.shape[1] for x in maps] == [4, 6, 8, 12]
    torch.testing.assert_close(embedding, maps[-1].mean(2))
    shapes = [tuple(p.shape) for name, p in encoder.projector.named_parameters() if p.dim() > 1]
    assert shapes == [(6, 10, 1), (6, 6, 3), (12, 6, 1)]
    assert (encoder.width, encoder.normalisation) == (12, "batch")


def test_it_trains_keeps_the_teachers_classifier_and_saves_it(tmp_path: Path) -> None:
    done = run("simkd", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=[*WORLD, *QUICK])
    student = read_safetensors(done.folder / "student.safetensors")
    teacher = read_safetensors(next(tmp_path.glob("teachers/*/teacher.safetensors")))
    for key in ("classifiers.0.weight", "classifiers.0.bias"):
        assert torch.equal(student[key], teacher[key])
    assert any("projector" in key for key in student)
    assert done.result["conditions"]["head"] == {"of": "teacher", "factor": 2}
    losses = [record["loss"] for record in records_of(done.folder)]
    assert min(losses[1:]) < losses[0]
    assert np.isfinite(done.result["metrics"]["accuracy"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (["teacher.fusion.name=none"], "takes over one head, and the teacher has 2 heads"),
        (["teacher.fusion={name: concat, hidden: 8}"], "does not take the mean of its last map"),
        (["student.modality=sensors", "student.representation={name: raw}", *SERIES], "for a network of one branch"),
    ],
)
def test_heads_that_do_not_fit_are_refused(changes: list[str], why: str) -> None:
    request = RunRequest("simkd", "motionsim", preset="smoke", device="cpu", overrides=[*WORLD, *changes])
    made = context_for(request)
    spec = made.run_spec.recipe.student
    assert spec is not None
    with pytest.raises(UsageError, match=why):
        made.build("student", spec)


@pytest.mark.parametrize(
    ("method", "changes", "why"),
    [
        ("student_only", ["student.head={of: teacher}"], r"student\.head takes over that of one teacher"),
        ("dml", ["student.head={of: teacher}"], r"student\.head takes over that of one teacher"),
        ("simkd", ["teacher.seeds=2"], r"student\.head takes over that of one teacher"),
        ("teacher_only", ["teacher.head={of: teacher}"], r"teacher\.head: only a student takes a head over"),
        ("simkd", ["student.pooling={name: mean}"], "so pooling has no effect"),
    ],
)
def test_a_head_is_that_of_one_trained_network(method: str, changes: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        resolve(method, "smoke", changes)
