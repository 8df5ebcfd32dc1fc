"""Methods of published systems: what each trains together, what it compares, and that it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import WORLD

from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run
from kdbench.runs.unlabelled import for_track
from kdbench.types import SENSORS, VIDEO, Batch, Features
from kdbench.util.records import read_jsonl

JOINT = ("dml", "dmcl", "c2kd")
FROZEN = ("radevski2023", "comodo", "modality_hallucination", "vskd", "born_again", "ensemble")
QUICK = ("teacher.train.batch_size=8", "teacher.train.epochs=8", "teacher.train.lr=0.01")


def _context(method: str, *changes: str) -> RunContext:
    return context_for(RunRequest(method, "motionsim", preset="smoke", overrides=[*WORLD, *changes], device="cpu"))


@pytest.mark.parametrize("method", JOINT)
def test_networks_of_a_joint_training_have_the_same_losses(method: str) -> None:
    recipe = resolve(method, "smoke")
    assert recipe.student is not None
    assert recipe.teacher is not None
    assert recipe.teacher.joint
    assert recipe.teacher.losses == recipe.student.losses
    assert recipe.teacher.train == recipe.student.train


@pytest.mark.parametrize(
    ("method", "student", "teacher"),
    [("vskd", SENSORS, VIDEO), ("comodo", SENSORS, VIDEO), ("born_again", VIDEO, VIDEO), ("dmcl", VIDEO, SENSORS)],
)
def test_who_sees_what(method: str, student: str, teacher: str) -> None:
    for preset in ("paper", "small", "smoke"):
        recipe = resolve(method, preset)
        assert recipe.student is not None
        assert recipe.teacher is not None
        assert [spec.shows(student) for spec in (recipe.student,)] == [True]
        assert recipe.teacher.shows(teacher)


def test_the_teacher_of_born_again_is_a_network_like_the_student() -> None:
    for preset in ("paper", "small", "smoke"):
        recipe = resolve("born_again", preset)
        assert recipe.student is not None
        assert recipe.teacher is not None
        assert recipe.teacher.architecture() == recipe.student.architecture()
        assert (recipe.teacher.train, recipe.teacher.augment) == (recipe.student.train, recipe.student.augment)


def test_the_student_of_radevski_follows_the_softmin_of_three_teachers() -> None:
    context = _context("radevski2023")
    spec = context.run_spec.recipe.student
    assert spec is not None
    teachers = [(part.name, context.build("teacher", part.spec, part.key)) for part in context.run_spec.teacher_parts]
    objective = context.objective("student", spec, context.build("student", spec), teachers)
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(4, 4, generator=generator) for _ in range(4)]
    label = torch.tensor([0, 1, 2, 3])
    student, *others = (Features(x, (), x) for x in logits)
    value, _ = objective([student], others, Batch({}, None, label, tuple("abcd"), torch.arange(4)))
    scores = np.stack([x.double().numpy() for x in logits])
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    errors = -logs[1:, np.arange(4), label.numpy()]
    weights = np.exp(-errors) / np.exp(-errors).sum(0)
    target = (weights[:, :, None] * scores[1:]).sum(0)
    target -= np.log(np.exp(target).sum(-1, keepdims=True))
    expected = (np.exp(target) * (target - logs[0])).sum(-1).mean()
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_hallucination_has_the_weights_of_the_code() -> None:
    student = resolve("modality_hallucination", "smoke").student
    assert student is not None
    inner, outer, squares = 0.5, 0.5, 0.01
    assert student.losses["ce"].weight == outer * (1 - inner)
    assert student.losses["st"].weight == outer * inner
    assert student.losses["hint"].weight == (1 - outer) * squares


def test_without_labels_comodo_is_what_was_published() -> None:
    recipe, _ = for_track(resolve("comodo", "smoke", ["track.labels=0"]))
    assert recipe.student is not None
    assert list(recipe.student.losses) == ["comodo"]


def test_a_trial_never_loses_all_of_its_sources() -> None:
    context = _context("actionmae", "student.drop_sources=0.5")
    spec = context.run_spec.recipe.student
    assert spec is not None
    network = context.build("student", spec)
    inputs = [torch.ones(400, 1, 2), torch.ones(400, 1, 3), torch.ones(400, 2, 3)]
    kept = torch.stack([x.flatten(1).mean(1) for x in network.dropped(inputs, torch.Generator().manual_seed(0))], dim=1)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.sum(1).min() == 1
    # Half of each, and one of those eighths that would have lost all.
    torch.testing.assert_close(kept.mean(0), torch.full((3,), 0.5 + 1 / 24), atol=0.08, rtol=0)
    network.drop_sources = 0.0
    assert all(map(torch.equal, network.dropped(inputs, torch.Generator()), inputs))


def test_one_source_cannot_be_dropped() -> None:
    request = RunRequest("student_only", "motionsim", preset="smoke", overrides=["student.drop_sources=0.5"])
    with pytest.raises(UsageError, match=r"student\.drop_sources = 0.5 has no effect: the network sees one source"):
        context_for(request)


def test_a_network_of_several_sources_says_how_it_does_without_each(tmp_path: Path) -> None:
    result = run("actionmae", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=WORLD).result
    assert set(result["metrics"]["without"]) == {"video", "accelerometer", "gyroscope"}
    records = read_jsonl(next(tmp_path.glob("*/metrics.jsonl")))
    assert records[-1]["loss"] < records[0]["loss"]
    # Some token of the step was taken away and rebuilt, with an error.
    assert all(record["terms"]["reconstruction"] > 0 for record in records)


@pytest.mark.parametrize("method", [*JOINT, *FROZEN])
def test_it_trains(method: str, tmp_path: Path) -> None:
    changes = WORLD if method in JOINT else [*WORLD, *QUICK]
    if method == "radevski2023":
        changes = [*changes, "teachers.video.train.epochs=8", "teachers.video.train.lr=0.01"]
    if method == "comodo":
        # Its queue is filled in the first epoch: more and more places to spread a share over.
        changes = [*changes, "student.train.epochs=6"]
    result = run(method, "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=changes).result
    assert result["status"] == "finished"
    assert 0 <= result["metrics"]["accuracy"] <= 1
    records = read_jsonl(next(tmp_path.glob("*/metrics.jsonl")))
    assert all(np.isfinite(list(record["terms"].values())).all() for record in records)
    assert records[-1]["loss"] < records[0]["loss"]
    if method == "comodo":
        terms = [record["terms"]["comodo"] for record in records]
        assert terms[-1] < terms[2] < terms[1]
