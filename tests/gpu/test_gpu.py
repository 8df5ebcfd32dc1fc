"""What only a GPU can show: no synchronisation in a step, equality with the CPU, bf16, compilation, streaming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import WORLD, StopAfter

import kdbench.runs.context
from kdbench.engine.loop import Training
from kdbench.engine.sums import Sums
from kdbench.errors import Interrupted
from kdbench.recipes.resolve import resolve
from kdbench.recipes.shipped import names
from kdbench.representations.gaf import gramian_angular_field
from kdbench.runs.context import context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.request import RunRequest
from kdbench.runs.run import RunResult, run
from kdbench.runs.student import student_training

pytestmark = pytest.mark.gpu

STUDENTS = [name for name in names() if (student := resolve(name, "smoke").student) and student.weights is None]
TEACHER = ["teacher.train.epochs=8", "teacher.train.batch_size=8"]


def training_of(method: str, folder: Path, *overrides: str, device: str = "cuda", precision: str = "fp32") -> Training:
    changes = [*WORLD, *(TEACHER if resolve(method, "smoke").teacher else []), *overrides]
    context = context_for(
        RunRequest(method, "motionsim", preset="smoke", overrides=changes, device=device, precision=precision)
    )
    recipe = context.run_spec.recipe
    teacher = of_parts(obtain_teachers(context, folder / "teachers", fresh=False))
    assert recipe.student is not None
    training = student_training(context, recipe.student, teacher, folder / "run")
    training.begin()
    return training


@pytest.mark.parametrize("method", STUDENTS)
@pytest.mark.parametrize(("precision", "memory"), [("fp32", 512 << 20), ("fp32", 0), ("bf16", 512 << 20)])
def test_an_epoch_never_makes_the_host_wait(
    method: str, precision: str, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kdbench.runs.context, "MEMORY_BYTES", memory)
    augment = "student.augment={rotate_deg: 5, shift: 0.05, scale: 0.05}"
    training = training_of(method, tmp_path, augment, precision=precision)
    sums = Sums(training.objective, training.accelerator.device)
    try:
        for number, batch in enumerate(training.loader.batches(list(range(len(training.loader))), 8)):
            student, loss, values, _ = training.forward(batch, 1, number)
            norm = training.backward(loss, values)
            sums.add(number, student, values, norm, training.objective.diagnostics(), batch)
            # The first step initialises libraries and the optimizer's state, which may wait.
            torch.cuda.set_sync_debug_mode("error")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sums.read(None)["bad_step"] is None


@pytest.mark.parametrize("change", ["compile=true", "precision=bf16"])
def test_a_whole_run_with_a_partial_batch(change: str, tmp_path: Path) -> None:
    changes = [*WORLD, change, "student.train.batch_size=7"]
    result = run("student_only", "motionsim", preset="smoke", device="cuda", out=tmp_path, overrides=changes)
    assert result.result["status"] == "finished"


@pytest.mark.parametrize("method", STUDENTS)
def test_losses_and_gradients_equal_the_cpus(method: str, tmp_path: Path) -> None:
    values = {}
    for device in ("cpu", "cuda"):
        training = training_of(method, tmp_path / "shared", device=device)
        training.network.eval()
        batch = next(iter(training.loader.batches(list(range(8)), 8)))
        _, loss, terms, _ = training.forward(batch, 1, 0)
        loss.backward()
        gradients = [p.grad.cpu() for p in training.network.parameters() if p.grad is not None]
        values[device] = (terms.detach().cpu(), torch.cat([g.flatten() for g in gradients]))
    torch.testing.assert_close(values["cuda"][0], values["cpu"][0], rtol=2e-3, atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(values["cuda"][1], values["cpu"][1], dim=0)
    assert cosine > 0.999


def test_the_angular_field_equals_the_cpus() -> None:
    series = torch.randn(4, 3, 200, dtype=torch.float64)
    ours = gramian_angular_field(series.cuda(), image_size=64).cpu()
    torch.testing.assert_close(ours, gramian_angular_field(series, image_size=64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", STUDENTS)
def test_bf16_stays_finite(method: str, tmp_path: Path) -> None:
    training = training_of(method, tmp_path, precision="bf16")
    for number, batch in enumerate(training.loader.batches(list(range(len(training.loader))), 8)):
        _, loss, terms, _ = training.forward(batch, 1, number)
        assert terms.isfinite().all()
        assert training.backward(loss, terms).isfinite()


def test_compiled_networks_give_the_eager_values(tmp_path: Path) -> None:
    terms = []
    for compiled in ("false", "true"):
        # Without a teacher, since a compiled one would be trained to other weights.
        training = training_of("student_only", tmp_path / compiled, f"compile={compiled}")
        batch = next(iter(training.loader.batches(list(range(8)), 8)))
        terms.append(training.forward(batch, 1, 0)[2].detach())
    torch.testing.assert_close(terms[1], terms[0], rtol=1e-2, atol=1e-3)


def test_a_stopped_run_goes_on_to_the_same_end_up_to_rounding(tmp_path: Path) -> None:
    def made(folder: str, **more: Any) -> RunResult:
        changes = [*WORLD, *TEACHER, "student.train.epochs=4"]
        out = tmp_path / folder
        return run("kd", "motionsim", preset="smoke", device="cuda", out=out, overrides=changes, **more)

    whole = made("whole")
    with pytest.raises(Interrupted):
        made("parts", reporter=StopAfter("student", 2))
    resumed = made("parts")
    assert resumed.result["resumed"] == 1
    logits = [each.predictions().filter(like="logit_").to_numpy() for each in (resumed, whole)]
    np.testing.assert_allclose(*logits, rtol=2e-2, atol=2e-2)


def test_streamed_batches_equal_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = list(range(20))
    whole = list(training_of("student_only", tmp_path).loader.batches(order, 8))
    monkeypatch.setattr(kdbench.runs.context, "MEMORY_BYTES", 0)
    streamed = list(training_of("student_only", tmp_path).loader.batches(order, 8))
    for ours, theirs in zip(streamed, whole, strict=True):
        assert ours.trial == theirs.trial
        assert ours.video is not None
        assert theirs.video is not None
        assert torch.equal(ours.video, theirs.video)
