"""Each error in a recipe, and in a loop, teacher or loader that takes the framework's place, is caught by its check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import known
from torch import Tensor

from kdbench import loss
from kdbench.data.loader import Loader
from kdbench.engine.loop import Record, Training
from kdbench.engine.teacher import FrozenTeacher
from kdbench.engine.teachers import FrozenTeachers
from kdbench.evaluation.predict import predict
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.runs.context import RunContext
from kdbench.runs.student import student_training
from kdbench.runs.teacher import Teacher
from kdbench.testing import check
from kdbench.testing.recipes import SUITE
from kdbench.types import Batch, Features

Spoil = Callable[[Training, RunContext, Any], None]


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def recipe(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(f"extends: hinton_raw\n{text}", encoding="utf-8")
    return str(path)


def spoilt(spoil: Spoil) -> Callable[..., Training]:
    """The framework's training of the student with something of one's own in it."""

    def make(context: RunContext, spec: NetworkSpec, teacher: Sequence[Teacher], folder: Path) -> Training:
        training = student_training(context, spec, teacher, folder)
        spoil(training, context, teacher)
        return training

    return make


class Standing(FrozenTeacher):
    """A teacher that answers each batch by a pass of its network; subclasses spoil it."""

    def __init__(self, training: Training) -> None:
        assert training.teacher is not None
        (held,) = training.teacher.networks
        self.__dict__.update(held.__dict__)
        self._features = None
        self._inputs = None


class InTrainingMode(Standing):
    """As in released code: nobody called eval()."""

    def __call__(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        self.network.train()
        return super().__call__(batch, seed=seed)


class WithGradient(Standing):
    def __call__(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        with torch.enable_grad():
            return list(self.network(self.network.represent(batch)))


class Drifting(Standing):
    def __call__(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        found = super().__call__(batch, seed=seed)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.mul_(1.0001)
        return found


class OfItsOwnOrder(Standing):
    """As in released code: every modality has a shuffled loader of its own."""

    def __call__(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        found = super().__call__(batch, seed=seed)
        order = torch.arange(len(batch)).roll(1)
        return [branch.replace(logits=branch.logits[order]) for branch in found]


class Zipped(Loader):
    """As in released code: sensors and video of a batch come from loaders that are zipped."""

    def batches(self, order: Tensor | Sequence[int], batch_size: int, *, join_single: bool = False) -> Iterator[Batch]:
        for batch in super().batches(order, batch_size, join_single=join_single):
            yield batch.replace(sensors={name: series.roll(1, 0) for name, series in batch.sensors.items()})


def zip_loaders(training: Training, context: RunContext, teacher: Any) -> None:
    training.loader.__class__ = Zipped


def select_on_the_test_part(training: Training, context: RunContext, teacher: Any) -> None:
    training.validation = context.loader(context.split.test, training.spec)


class PeeksAtTheTest(Training):
    """As in released code: every epoch is tested, and the best one is reported."""

    context: RunContext

    def _validate(self, epoch: int, record: Record) -> None:
        loader = self.context.loader(self.context.split.test, self.spec)
        predictions = predict(self.network, loader, batch_size=4, accelerator=self.accelerator)
        record["validation"] = {"accuracy": predictions.accuracy, "macro_f1": 0.0}


def peek_at_the_test_part(training: Training, context: RunContext, teacher: Any) -> None:
    training.__class__ = PeeksAtTheTest
    training.context = context  # type: ignore[attr-defined]
    training.keep_best = False


class ForgetsToStep(Training):
    def backward(self, loss: Tensor, values: Tensor) -> Tensor:
        return loss.detach()


def forget_to_step(training: Training, context: RunContext, teacher: Any) -> None:
    training.__class__ = ForgetsToStep


class TrainsTheTeacher(Training):
    taught: Any

    def begin(self) -> None:
        super().begin()
        self.optimizer.add_param_group({"params": list(self.taught.parameters())})


def train_the_teacher(training: Training, context: RunContext, teacher: Any) -> None:
    training.__class__ = TrainsTheTeacher
    training.taught = teacher[0].network  # type: ignore[attr-defined]


def answers_by(kind: type[Standing]) -> Spoil:
    def spoil(training: Training, context: RunContext, teacher: Any) -> None:
        training.teacher = FrozenTeachers([kind(training)], [None])

    return spoil


@pytest.mark.parametrize(
    ("spoil", "checks"),
    [
        (answers_by(Standing), set()),
        (answers_by(InTrainingMode), {"teacher_stays_in_eval_mode"}),
        (answers_by(WithGradient), {"teacher_stays_in_eval_mode"}),
        (answers_by(Drifting), {"teacher_stays_as_it_was"}),
        (train_the_teacher, {"teacher_stays_as_it_was"}),
        (answers_by(OfItsOwnOrder), {"teacher_sees_the_students_trials"}),
        (zip_loaders, {"batches_hold_their_trials"}),
        (select_on_the_test_part, {"the_test_part_selects_nothing"}),
        (peek_at_the_test_part, {"the_test_part_selects_nothing"}),
        (forget_to_step, {"a_step_changes_the_student"}),
    ],
    ids=[
        "a teacher without a cache",
        "teacher in training mode",
        "teacher with gradient",
        "teacher that drifts",
        "teacher in the optimiser",
        "teacher in another order",
        "unpaired loaders",
        "validation on the test part",
        "epoch chosen on the test part",
        "no step",
    ],
)
def test_a_training_that_breaks_a_guarantee_is_caught(spoil: Spoil, checks: set[str]) -> None:
    report = check("method", "hinton_raw", make=spoilt(spoil))
    assert set(report.failed) == checks, str(report)


@loss("no_gradient_at_all", on="logits")
def no_gradient_at_all(student: Tensor, teacher: Tensor) -> Tensor:
    return (0 * student).sum() + (student.detach() - teacher).square().mean()


@pytest.mark.parametrize(
    ("text", "check_name", "message"),
    [
        ("student: {losses: {stt: {weight: 1}}}", "resolves_at_every_preset", "unknown loss 'stt'; did you mean"),
        ("presets: {paper: {student: {encoder: {name: swim}}}}", "resolves_at_every_preset", "unknown encoder 'swim'"),
        ("studnt: {}", "loads", "unknown key 'studnt'; did you mean 'student'?"),
        ("student: {losses: {pskd: {weight: 1}}}", "needs_are_met", "'semantic'"),
        ("teacher: null", "needs_are_met", "compares with a teacher"),
        ("selection: {part: validation}", "selects_nothing_on_what_it_reports", "selection.part = validation"),
        ("student: {losses: {no_gradient_at_all: {weight: 1}}}", "every_loss_moves_its_network", "no gradient"),
    ],
)
def test_an_error_in_a_recipe_is_caught(text: str, check_name: str, message: str, tmp_path: Path) -> None:
    with known(no_gradient_at_all):
        report = check("method", recipe(tmp_path, text))
    assert report.failed == (check_name,), str(report)
    assert message in report.result(check_name).message


def test_a_loss_of_weight_0_may_be_without_gradient(tmp_path: Path) -> None:
    with known(no_gradient_at_all):
        report = check("method", recipe(tmp_path, "student: {losses: {no_gradient_at_all: {weight: 0}}}"))
    assert report.passed, str(report)


def test_a_recipe_that_extends_itself_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {path}", encoding="utf-8")
    report = check("method", str(path))
    assert report.failed == ("loads",)
    assert "extends itself" in report.result("loads").message


def test_a_teacher_alone_and_a_student_alone_are_checked_as_far_as_they_go() -> None:
    for name in ("teacher_only_raw", "student_only"):
        report = check("method", name)
        assert report.passed, str(report)
        assert report.result("teacher_stays_in_eval_mode").outcome == "skipped"
        assert report.result("the_test_part_selects_nothing").outcome == "passed"


def test_the_checks_have_these_names() -> None:
    caught = {"teacher_stays_in_eval_mode", "teacher_stays_as_it_was", "teacher_sees_the_students_trials"}
    caught |= {"batches_hold_their_trials", "the_test_part_selects_nothing", "a_step_changes_the_student"}
    caught |= {"resolves_at_every_preset", "needs_are_met", "selects_nothing_on_what_it_reports"}
    caught |= {"every_loss_moves_its_network", "loads", "was_checked"}
    assert set(SUITE.names) == caught
