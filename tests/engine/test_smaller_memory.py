"""Batches in parts, and stages that are computed again: the same step in a smaller memory, or a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import WORLD, tiny

from kdbench.engine.loop import Training
from kdbench.engine.parts import in_parts
from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.ahead import check_parts
from kdbench.runs.context import context_for
from kdbench.runs.faculty import untrained_networks
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher

STUDENT = ["student.train.optimizer=sgd", "student.train.batch_size=8"]


def begun(*changes: str, method: str = "kd_sensor") -> Training:
    request = RunRequest(
        method, "motionsim", preset="smoke", device="cpu", threads=1, overrides=[*WORLD, *STUDENT, *changes]
    )
    context = context_for(request, shown=False)
    made = [Teacher(network, Path(), {}, context, part) for part, network in untrained_networks(context)]
    assert context.run_spec.recipe.student is not None
    training = student_training(context, context.run_spec.recipe.student, made, Path())
    training.begin()
    return training


def moved(training: Training, steps: int = 2) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The values of a few steps, and the weights behind them."""
    torch.manual_seed(0)
    told = []
    for step, batch in zip(range(steps), training.batches(training.order(1)), strict=False):
        parts, norm, _ = training.step(batch, 1, step)
        values = sum(len(part) * values.detach() for part, _, values, _ in parts) / len(batch)
        told += [*values.tolist(), float(norm)]
    return told, training.network.state_dict()


def test_a_step_in_parts_is_that_of_the_whole_batch() -> None:
    kept = ["student.encoder.norm=group", "student.augment={noise: 0, scale: 0}", "student.losses.hint.weight=1"]
    whole, parted = moved(begun(*kept)), moved(begun(*kept, "student.train.accumulate=3"))
    assert parted[0] == pytest.approx(whole[0], rel=1e-5)
    for name, value in whole[1].items():
        torch.testing.assert_close(parted[1][name], value, rtol=1e-5, atol=1e-6)


def test_parts_are_nearly_equal_and_of_two_trials_at_least() -> None:
    batch = next(begun().batches(torch.arange(8)))
    assert [len(part) for part in in_parts(batch, 3)] == [3, 3, 2]
    assert [len(part) for part in in_parts(batch.between(0, 5), 3)] == [3, 2]
    assert [len(part) for part in in_parts(batch.between(0, 3), 3)] == [3]
    assert [trial for part in in_parts(batch, 3) for trial in part.trial] == list(batch.trial)
    marked = batch.replace(labelled=5, paired=2).between(2, 8)
    assert (marked.labelled, marked.paired, len(marked)) == (3, 0, 6)


@pytest.mark.parametrize("method", ["kd", "kd_sensor"])
def test_stages_that_are_computed_again_change_no_number(method: str) -> None:
    noisy = ["student.encoder={norm: batch, dropout: 0.3}"]
    kept, again = (
        moved(begun(*noisy, method=method)),
        moved(begun(*noisy, "student.train.checkpointing=true", method=method)),
    )
    assert again[0] == kept[0]
    for name, value in kept[1].items():
        assert torch.equal(again[1][name], value), name


def test_stages_that_are_computed_again_are_not_kept() -> None:
    def kept(*changes: str) -> int:
        training, held = begun("student.encoder.norm=group", *changes, method="kd"), 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal held
            held += tensor.numel() * tensor.element_size()
            return tensor

        batch = next(training.batches(training.order(1)))
        inputs = training.network.represent(training.augment(batch, 0))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            training.network(inputs)
        return held

    assert kept("student.train.checkpointing=true") < 0.5 * kept()


@pytest.mark.parametrize(
    ("method", "changes", "match"),
    [
        ("kd_sensor", ["student.losses.rkd.weight=1"], r"student.losses.rkd needs the whole batch at once"),
        ("kd_sensor", ["student.losses.sp.weight=1"], r"student.losses.sp needs the whole batch at once"),
        ("kd_sensor", ["student.losses.pkt.weight=1"], r"student.losses.pkt needs the whole batch at once"),
        ("kd_sensor", ["student.losses.srrl.weight=1"], r"student.losses.srrl needs the whole batch at once"),
        ("kd", [], "the fusion of a teacher couples the trials of a batch"),
        ("kd_sensor", ["student.balance.name=gradnorm"], "the balance measures the gradient of each term"),
        ("kd_sensor", ["student.train.optimizer=dot"], "dot takes the two gradients"),
        ("kd_sensor", ["student.train.batch_size=5"], "parts of a batch of 5 would have less than 2 trials"),
        ("kd_sensor", ["compile=true", "student.train.checkpointing=true"], "a compiled network chooses itself"),
        ("kd_sensor", ["track={labels: 1}"], "not every trial has a label or a pair"),
    ],
)
def test_what_needs_the_whole_batch_is_refused_in_parts(method: str, changes: list[str], match: str) -> None:
    overrides = [*WORLD, "student.train.batch_size=8", "student.train.accumulate=3", *changes]
    request = RunRequest(method, "motionsim", preset="smoke", device="cpu", threads=1, overrides=overrides)
    with pytest.raises(UsageError, match=match) as caught:
        check_parts(context_for(request, shown=False))
    assert caught.value.hint


def test_a_teacher_whose_fusion_couples_the_batch_is_refused_in_parts() -> None:
    changes = [*WORLD, "teacher.train={batch_size: 8, accumulate: 2}"]
    request = RunRequest("teacher_only", "motionsim", teacher="raw_ft", preset="smoke", device="cpu", overrides=changes)
    with pytest.raises(
        UsageError, match=r"teacher.train.accumulate = 2: the fusion of the network in training couples"
    ):
        check_parts(context_for(request, shown=False))


def test_a_run_in_parts_says_so_in_its_conditions(tmp_path: Path) -> None:
    changes = ["student.train={batch_size: 8, accumulate: 2, checkpointing: true}"]
    conditions = tiny("student_only", tmp_path, *changes).result["conditions"]["train"]
    assert (conditions["accumulate"], conditions["checkpointing"]) == (2, True)
    assert not {"accumulate", "checkpointing"} & set(resolve("kd", "paper").student.train.model_dump())
