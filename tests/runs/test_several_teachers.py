"""Runs whose student has several teachers, an ensemble, a cross-fitted one, one of a file, or one that trains along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import WORLD, known, tiny
from torch import Tensor

from kdbench import loss
from kdbench.engine.teachers import FrozenTeachers
from kdbench.errors import Interrupted, UsageError
from kdbench.runs.context import context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.request import RunRequest
from kdbench.runs.run import RunResult, run
from kdbench.runs.student import student_training
from kdbench.util.records import read_json, read_jsonl

TRAIN = {"epochs": 8, "batch_size": 8}


def recipe(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def trained(method: str, out: Path, *overrides: Any, **arguments: Any) -> RunResult:
    return run(method, "motionsim", preset="smoke", device="cpu", out=out, overrides=[*WORLD, *overrides], **arguments)


def request(method: str, out: Path, *overrides: str) -> RunRequest:
    return RunRequest(method, "motionsim", preset="smoke", device="cpu", out=out, overrides=[*WORLD, *overrides])


PAIR = """
extends: kd
teacher: null
teachers:
  imu: {name: raw, train: {epochs: 8, batch_size: 8}}
  body: {name: raw_concat, train: {epochs: 8, batch_size: 8}}
student:
  losses:
    st: {mix: softmin}
"""


@pytest.mark.slow
def test_each_teacher_is_trained_once_and_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = tiny("kd", tmp_path, teacher="raw")
    result = trained(recipe(tmp_path, "pair", PAIR), tmp_path, progress=True)
    told = [line.partition(":")[0] for line in "".join(capsys.readouterr()).splitlines() if "epochs of" in line]
    assert told == ["teacher body", "student"]
    record = read_json(result.folder / "run.json")
    assert record["taught_by"] == "raw+raw_concat"
    assert record["teacher"] is None
    assert list(record["teachers"]) == ["imu", "body"]
    assert record["teachers"]["imu"]["folder"] == read_json(alone.folder / "run.json")["teacher"]["folder"]
    assert len(list((tmp_path / "teachers").iterdir())) == 2
    assert record["cost"]["teacher_seconds"] > 0


@pytest.mark.slow
def test_an_ensemble_has_draws_of_its_own_and_its_first_member_is_the_teacher_alone(tmp_path: Path) -> None:
    alone = tiny("kd", tmp_path, teacher="raw")
    several = tiny("kd", tmp_path, "teacher.seeds=2", teacher="raw")
    own, ensemble = (read_json(one.folder / "run.json")["teacher"] for one in (alone, several))
    assert ensemble["members"][0]["folder"] == own["folder"]
    assert ensemble["members"][1]["weights_sha256"] != own["weights_sha256"]
    assert ensemble["n"] == own["n"]
    changes = [f"teacher.train.{key}={value}" for key, value in TRAIN.items()]
    reported = trained("teacher_only", tmp_path, "teacher.seeds=2", *changes, teacher="raw")
    assert read_json(reported.folder / "run.json")["metrics"]["accuracy"] == ensemble["accuracy"]


@pytest.mark.slow
def test_nobody_is_taught_by_a_network_that_saw_the_trial(tmp_path: Path) -> None:
    changes = [f"teacher.train.{key}={value}" for key, value in TRAIN.items()]
    context = context_for(request("kd", tmp_path, "teacher.folds=2", "teacher.fusion.name=none", *changes))
    parts = context.run_spec.teacher_parts
    assert [part.fold for part in parts] == [0, 1]
    assert [part.title for part in parts] == ["teacher, fold 1 of 2", "teacher, fold 2 of 2"]
    folds = context.run_spec.folds(2)
    train = set(context.split.train)
    seen = [set(context.run_spec.trials_of(part)) for part in parts]
    assert seen[0] | seen[1] == train
    assert not seen[0] & seen[1]
    teachers = of_parts(obtain_teachers(context, tmp_path / "teachers", fresh=False))
    assert context.run_spec.recipe.student is not None
    training = student_training(context, context.run_spec.recipe.student, teachers, tmp_path / "run")
    assert isinstance(training.teacher, FrozenTeachers)
    order = torch.randperm(len(training.loader))[:7]
    batch = next(iter(training.loader.batches(order, 7)))
    given = training.teacher(batch)
    assert len(given) == len(teachers[0].network.heads)
    with torch.no_grad():
        each = [teacher.network(teacher.network.represent(batch)) for teacher in teachers]
    for branch, features in enumerate(given):
        expected = [each[folds[trial]][branch].logits[row] for row, trial in enumerate(batch.trial)]
        torch.testing.assert_close(features.logits, torch.stack(expected))


@pytest.mark.slow
def test_a_teacher_may_be_the_file_of_an_earlier_run(tmp_path: Path) -> None:
    first = tiny("kd", tmp_path, teacher="raw")
    folder = tmp_path / "teachers" / read_json(first.folder / "run.json")["teacher"]["folder"]
    second = trained("kd", tmp_path / "other", f"teacher.weights={folder}", teacher="raw")
    ours, theirs = (read_json(one.folder / "run.json") for one in (second, first))
    assert ours["metrics"]["accuracy"] == theirs["metrics"]["accuracy"]
    assert ours["conditions"]["teacher_weights"] == {"teacher": theirs["teacher"]["weights_sha256"]}
    with pytest.raises(UsageError, match="there is no such file"):
        trained("kd", tmp_path, f"teacher.weights={folder}x", teacher="raw")
    with pytest.raises(UsageError, match="holds another network"):
        trained("kd", tmp_path, f"teacher.weights={folder}", teacher="raw_concat")


JOINT = """
extends: kd
teacher:
  name: raw
  train: joint
  losses: {st: {weight: 1.0}}
"""


def test_a_joint_teacher_learns_from_the_student_and_the_student_from_it(tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []

    @loss("seen", on="logits", project=False)
    def watch(student: Tensor, teacher: Tensor) -> Tensor:
        """Writes down who has a gradient."""
        seen.append((student.requires_grad, teacher.requires_grad))
        return (student - teacher).square().mean()

    with known(watch):
        result = trained(
            recipe(tmp_path, "mutual", JOINT),
            tmp_path,
            "student.losses.seen.weight=1",
            "teacher.losses.seen.weight=1",
            "student.train.batch_size=8",
        )
    # Rehearsed first, then a step: each network learns, and takes the other for a constant.
    assert set(seen) == {(True, False)}
    record = read_json(result.folder / "run.json")
    assert record["teacher"]["joint"]
    assert (result.folder / "teacher.safetensors").is_file()
    epochs = read_jsonl(result.folder / "metrics.jsonl")
    assert [set(epoch["peers"]["teacher"]["terms"]) for epoch in epochs] == [{"ce", "st", "seen"}] * len(epochs)
    assert not (tmp_path / "teachers").exists() or not list((tmp_path / "teachers").iterdir())


@pytest.mark.slow
def test_an_interrupted_joint_run_ends_with_the_same_numbers(tmp_path: Path) -> None:
    method = recipe(tmp_path, "mutual", JOINT)
    whole = trained(method, tmp_path / "whole", "student.train.batch_size=8", "student.train.epochs=3")
    stopped = 0

    @loss("stops", on="logits", teacher=False)
    def stop(student: Tensor) -> Tensor:
        """Interrupts the second epoch."""
        nonlocal stopped
        stopped += 1
        if stopped == 7:
            raise KeyboardInterrupt
        return (0 * student).sum()

    changes = ["student.train.batch_size=8", "student.train.epochs=3", "student.losses.stops.weight=1"]
    with known(stop):
        with pytest.raises(Interrupted):
            trained(method, tmp_path / "parts", *changes)
        resumed = trained(method, tmp_path / "parts", *changes)
    np.testing.assert_array_equal(
        resumed.predictions().filter(like="logit").to_numpy(), whole.predictions().filter(like="logit").to_numpy()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("student.losses.st.from=[imo]", "there is no teacher 'imo'"),
        ("teachers.imu.losses.ce.from=[body]", "a teacher compares with the student alone"),
        ("teachers.imu.folds=40", "a subject stays in one fold"),
        ("student.losses.st={mix: softmin, from: [body]}", "has nothing to mix"),
        ("student.seeds=3", "only teachers are several networks"),
        ("teachers.imu={seeds: 2, folds: 2}", "choose one"),
        ("teachers={imu: null, body: null}", "has no teacher, and student.losses.st compares with one"),
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, change: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        trained(recipe(tmp_path, "pair", PAIR), tmp_path, change)
