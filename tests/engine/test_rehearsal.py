"""A loss that cannot be computed stops a run before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import WORLD, known, tiny
from torch import Tensor

from kdbench import loss
from kdbench.errors import UsageError
from kdbench.runs.ahead import check_parts
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.types import Features
from kdbench.util.progress import Reporter


class NothingTrained(Reporter):
    """Refuses the start of a phase."""

    def start_phase(self, phase: str, **_: Any) -> None:
        pytest.fail(f"the {phase} was trained")


@loss("rowwise", on="logits")
def rowwise(student: Tensor, teacher: Tensor) -> Tensor:
    """One value per sample."""
    return (student - teacher).square().mean(1)


@loss("flat", on="stages", project=False)
def flat(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    """Takes clips for images."""
    batch, channels, height, width = student[-1].shape
    return (student[-1].sum() - teacher[-1].sum()) / (batch * channels * height * width)


@loss("secret", reads=("logits",))
def secret(student: Features, teacher: Features) -> Tensor:
    """Reads more than it says."""
    return (student.logits - teacher.logits).mean() * teacher.stages[0].mean()


@loss("typed", on="embedding", project=False)
def typed(student: Tensor, teacher: Tensor) -> float:
    """No tensor."""
    return (student.mean() - teacher.mean()).item()


@pytest.mark.parametrize(
    ("component", "said"),
    [
        (rowwise, "the loss 'rowwise' returned (2,), expected a scalar tensor"),
        (flat, "student.losses.flat (test_rehearsal:flat, this process) raised ValueError in line"),
        (secret, "student.losses.secret (test_rehearsal:secret, this process) raised IndexError in line"),
        (typed, "the loss 'typed' returned float, expected a scalar tensor"),
    ],
)
def test_a_loss_that_fails_is_refused_before_any_training(component: Any, said: str, tmp_path: Path) -> None:
    name = component.__kdbench_part__.name
    with known(component), pytest.raises(UsageError) as caught:
        tiny("hinton_raw", tmp_path, f"student.losses.{name}.weight=0.5", reporter=NothingTrained())
    assert said in str(caught.value)


def test_a_bridged_loss_is_refused_before_any_training(tmp_path: Path) -> None:
    changes = ["student.losses.torchdistill:SPKDLoss={weight: 1, reduction: batchmean}"]
    with pytest.raises(UsageError, match="divides the rows of the similarities by their L1 norm"):
        tiny("hinton_raw", tmp_path, *changes, reporter=NothingTrained())


def test_a_loss_on_what_the_teacher_lacks_is_refused_before_any_training(tmp_path: Path) -> None:
    meaning = loss("meaning", on="semantic")(lambda student, teacher: (student - teacher).square().mean())
    with known(meaning), pytest.raises(UsageError, match="compares 'semantic' with the teacher's"):
        tiny("hinton_raw", tmp_path, "student.losses.meaning.weight=1", reporter=NothingTrained())


@pytest.mark.parametrize("method", ["sgm_ft", "hinton_raw", "student_only", "teacher_only"])
def test_what_fits_passes(method: str) -> None:
    check_parts(context_for(RunRequest(method, "motionsim", preset="smoke", overrides=WORLD, device="cpu")))
