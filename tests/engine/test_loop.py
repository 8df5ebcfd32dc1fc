"""The loop's promises about one step, one pairing and one killed process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import fork
from helpers import WORLD, tiny
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.engine.augment import Augmenter
from kdbench.engine.loop import Pairing, Sums, Training
from kdbench.engine.optim import learning_rate
from kdbench.engine.teacher import FrozenTeacher, fingerprint
from kdbench.errors import RunFailed
from kdbench.launch.launcher import Program
from kdbench.recipes.network_spec import Augment, Train
from kdbench.recipes.resolve import resolve
from kdbench.recipes.shipped import names
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher
from kdbench.util.records import read_json

RECIPES = {
    name: recipe
    for name in names()
    # One with random weights is never trained.
    if (recipe := resolve(name, "smoke")).student is not None and recipe.student.weights is None
}
# One method of those that have the same student, losses included, and the same fusion in the teacher.
STUDENTS = sorted(
    {str((each.student, each.teacher and each.teacher.fusion)): name for name, each in RECIPES.items()}.values()
)
# Operators that read a value of the device on the host, or whose result's shape depends on values.
SYNCHRONISING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


def prepared(method: str, folder: Path) -> tuple[RunContext, list[Teacher], Training]:
    teacher = [
        f"{key}.train.{change}"
        for key, spec in resolve(method, "smoke").by_key.items()
        if key != "student" and not spec.joint
        for change in ("epochs=8", "batch_size=8")
    ]
    augment = ["student.augment={rotate_deg: 5, shift: 0.05, scale: 0.05}"]
    context = context_for(
        RunRequest(method, "motionsim", preset="smoke", overrides=[*WORLD, *teacher, *augment], device="cpu")
    )
    recipe = context.run_spec.recipe
    held = of_parts(obtain_teachers(context, folder, fresh=False))
    assert recipe.student is not None
    training = student_training(context, recipe.student, held, folder / "run")
    training.begin()
    return context, held, training


class NoSynchronisation(TorchDispatchMode):
    """Refuses operators that would make the host wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        assert name not in SYNCHRONISING, f"{name} synchronises"
        indices = args[1] if name == "index" else []
        assert not any(i is not None and i.dtype == torch.bool for i in indices), "boolean indexing synchronises"
        return func(*args, **(kwargs or {}))


@pytest.mark.slow
@pytest.mark.parametrize("method", STUDENTS)
def test_no_method_reads_the_device_within_a_step(method: str, folder: Path) -> None:
    _, _, training = prepared(method, folder)
    sums = Sums(training.objective, training.accelerator.device)
    for number, batch in enumerate(training.loader.batches(list(range(16)), 8)):
        with NoSynchronisation():
            student, loss, values, _ = training.forward(batch, 1, number)
            training.optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.get_total_norm([p.grad for p in training.network.parameters() if p.grad is not None])
            sums.add(number, student, values, norm, training.objective.diagnostics(), batch)


def test_the_watch_for_synchronisation_sees_one() -> None:
    with NoSynchronisation(), pytest.raises(AssertionError, match="synchronises"):
        torch.ones(3).sum().item()
    with NoSynchronisation(), pytest.raises(AssertionError, match="boolean indexing"):
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]


@pytest.mark.parametrize(("method", "kept"), [("rkd_raw", "features"), ("sgm_ft", "inputs")])
def test_what_the_teacher_keeps_equals_what_it_computes(method: str, kept: str, folder: Path) -> None:
    _, held, training = prepared(method, folder)
    assert training.teacher is not None
    frozen = training.teacher.networks[0]
    assert frozen is not None
    assert held
    assert frozen.cached == kept
    order = torch.randperm(len(training.loader))[:6]
    batch = next(iter(training.loader.batches(order, 6)))
    with torch.no_grad():
        live = held[0].network(held[0].network.represent(batch))
    for ours, theirs in zip(frozen(batch), live, strict=True):
        torch.testing.assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.embedding, theirs.embedding)
        for mine, other in zip(ours.stages, theirs.stages, strict=False):
            torch.testing.assert_close(mine, other)
    ours = frozen(batch)[0]
    if ours.ablated_logits is not None:
        expected = held[0].network.ablated(held[0].network.represent(batch))[0]
        torch.testing.assert_close(ours.ablated_logits, expected)


@pytest.mark.parametrize("norm", ["frobenius", "row"])
def test_the_teachers_ablated_scores_are_those_of_a_whole_zero_batch(norm: str) -> None:
    context = context_for(
        RunRequest(
            "sgm_ft", "motionsim", preset="smoke", overrides=[*WORLD, f"teacher.fusion.norm={norm}"], device="cpu"
        )
    )
    spec = context.run_spec.recipe.teacher
    assert spec is not None
    network, loader = context.build("teacher", spec), context.loader(context.split.train, spec)
    with torch.no_grad():
        # Without biases a zero input stays zero, and every norm of it too.
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    accelerator = context.accelerator
    frozen = FrozenTeacher(network, loader, fields=None, ablation="all", batch_size=8, accelerator=accelerator)
    batch = next(iter(loader.batches(range(8), 8)))
    with torch.no_grad():
        whole = network([torch.zeros_like(x) for x in network.represent(batch)])
    for ours, expected in zip(frozen(batch), whole, strict=True):
        torch.testing.assert_close(ours.ablated_logits, expected.logits)


def test_a_teacher_asked_about_other_trials_stops(folder: Path) -> None:
    _, _, training = prepared("rkd_raw", folder)
    assert training.teacher is not None
    batch = next(iter(training.loader.batches([0, 1], 2)))
    with pytest.raises(RunFailed, match="teacher and student see different trials"):
        training.teacher(batch.replace(trial=("a1_s9_t9", batch.trial[1])))


def test_the_teacher_is_frozen_and_a_change_is_noticed(folder: Path) -> None:
    _, held, training = prepared("sgm_ft", folder)
    assert training.teacher is not None
    frozen = training.teacher.networks[0]
    assert isinstance(frozen, FrozenTeacher)
    assert held
    assert not any(p.requires_grad for p in held[0].network.parameters())
    assert not any(module.training for module in held[0].network.modules())
    batch = next(iter(training.loader.batches([0, 1, 2], 3)))
    before = fingerprint(held[0].network)
    training.backward(*training.forward(batch, 1, 0)[1:3])
    assert fingerprint(held[0].network) == before
    frozen.check_unchanged()
    with torch.no_grad():
        next(held[0].network.parameters()).flatten()[0] += 1e-7
    with pytest.raises(RunFailed, match="state changed"):
        frozen.check_unchanged()
    held[0].network.train()
    with pytest.raises(RunFailed, match="training mode"):
        frozen.check_unchanged()


def test_seeds_depend_on_their_names_alone() -> None:
    first, other = Pairing("utd_mhad", "cross_subject", 0), Pairing("utd_mhad", "cross_subject", 1)
    assert first.seed_of("order", 3) == Pairing("utd_mhad", "cross_subject", 0).seed_of("order", 3)
    assert (
        len(
            {first.seed_of("order", 3), first.seed_of("order", 4), first.seed_of("noise", 3), other.seed_of("order", 3)}
        )
        == 4
    )


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    train = Train(epochs=1, batch_size=1, lr=1.0, warmup=0.1)
    rates = [learning_rate(train, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
    assert learning_rate(train.model_copy(update={"schedule": "constant"}), 99, 100) == 1.0


def test_augmentation_keeps_its_bounds_and_depends_on_its_seed(folder: Path) -> None:
    _, _, training = prepared("rkd_raw", folder)
    batch = next(iter(training.loader.batches([0, 1, 2, 3], 4)))
    std = {name: torch.ones(3) for name in batch.sensors}
    change = Augmenter(Augment(noise=0.0, scale=0.2), std)
    for name, series in change(batch, 1).sensors.items():
        gain = (series / batch.sensors[name]).flatten(1)
        assert torch.allclose(gain, gain[:, :1].expand_as(gain), atol=1e-3)
        assert ((gain[:, 0] > 0.8) & (gain[:, 0] < 1.2)).all()
    moved = Augmenter(Augment(rotate_deg=10, shift=0.1), {})
    first, again, other = (moved(batch, seed).video for seed in (1, 1, 2))
    assert first is not None
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first >= 0).all()
    assert (first <= 1).all()


def test_a_sensor_that_the_network_does_not_see_draws_nothing(folder: Path) -> None:
    _, _, training = prepared("rkd_raw", folder)
    batch = next(iter(training.loader.batches([0, 1], 2)))
    first, second = batch.sensors
    change = Augmenter(Augment(noise=0.5, scale=0.2), {second: torch.ones(3)})
    both, alone = change(batch, 1), change(batch.replace(sensors={second: batch.sensors[second]}), 1)
    assert torch.equal(both.sensors[second], alone.sensors[second])
    assert torch.equal(both.sensors[first], batch.sensors[first])
    assert not torch.equal(both.sensors[second], batch.sensors[second])


def test_no_augmentation_leaves_the_batch_alone(folder: Path) -> None:
    _, _, training = prepared("rkd_raw", folder)
    batch = next(iter(training.loader.batches([0, 1], 2)))
    assert Augmenter(Augment(), {})(batch, 0) is batch


def test_a_shift_moves_by_the_share_it_names() -> None:
    from kdbench.types import Batch

    video = torch.zeros(64, 1, 1, 40, 40, dtype=torch.uint8)
    video[..., 20, 20] = 255
    batch = Batch({}, video, torch.zeros(64, dtype=torch.long), tuple(map(str, range(64))), torch.arange(64))
    changed = Augmenter(Augment(shift=0.25), {})(batch, 0).video
    assert changed is not None
    weights = changed[:, 0, 0] / changed[:, 0, 0].sum((1, 2), keepdim=True)
    rows = (weights.sum(2) * torch.arange(40)).sum(1)
    assert 5 < (rows - 20).abs().max() <= 10.5


def test_a_killed_process_resumes_bit_for_bit(tmp_path: Path) -> None:
    reference = tiny("student_only", tmp_path / "whole", "student.train.epochs=12")
    changes = [*WORLD, "student.train.epochs=12"]
    command = ["run", "--method", "student_only", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu"]
    command += [part for change in changes for part in ("--set", change)]
    with (tmp_path / "log").open("wb") as log:
        process = fork(Program("kdbench", (*command, "--out", str(tmp_path / "killed"))), log)
    deadline = time.monotonic() + 240
    while not (checkpoints := list((tmp_path / "killed").rglob("checkpoint/state.safetensors"))):
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    run_json = checkpoints[0].parent.parent / "run.json"
    if read_json(run_json)["status"] == "finished":
        pytest.fail("the process finished before it was killed; give it more epochs")
    resumed = tiny("student_only", tmp_path / "killed", "student.train.epochs=12")
    assert resumed.result["resumed"] == 1
    assert np.array_equal(resumed.predictions(), reference.predictions())
