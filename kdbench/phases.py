"""The two phases of a run: a teacher, trained once and shared; then the student against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from torch._functorch import config as functorch_config

from kdbench.data.loader import Loader
from kdbench.engine.chance import above_chance
from kdbench.engine.device import fixed_threads
from kdbench.engine.estimate import announce
from kdbench.engine.evaluate import Predictions, predict
from kdbench.engine.loop import Record, Training
from kdbench.engine.objective import Objective
from kdbench.engine.rehearsal import rehearse
from kdbench.engine.teacher import FrozenTeacher
from kdbench.errors import RunFailed
from kdbench.network import Network
from kdbench.recipe import NetworkSpec
from kdbench.results.files import read_json, read_jsonl, read_safetensors, write_json, write_safetensors
from kdbench.results.metrics import numbers
from kdbench.setting import Setting
from kdbench.types import SENSORS
from kdbench.wording import counted

REHEARSED_TRIALS = 2


@dataclass
class Teacher:
    """A trained teacher and its folder.

    Attributes:
        network: The network, in eval mode.
        folder: `teachers/<name>`.
        record: What its `teacher.json` says.
        setting: The run that uses it.
        spec: Its recipe.
    """

    network: Network
    folder: Path
    record: dict[str, Any]
    setting: Setting
    spec: NetworkSpec

    def predictions(self, batch_size: int) -> Predictions:
        """Class scores on the reported part, in batches of a size."""
        loader = self.setting.loader(self.setting.reported_trials(), self.spec)
        return predict(self.network, loader, batch_size=batch_size, accelerator=self.setting.accelerator)

    def metrics(self, batch_size: int) -> dict[str, Any]:
        """Metrics on the reported part; kept in the folder, since the same teacher serves many runs."""
        part = self.setting.cell.recipe.selection.part
        path = self.folder / f"metrics_{part}_b{batch_size}.json"
        if path.is_file():
            return read_json(path)
        metrics = self.predictions(batch_size).metrics(self.setting.classes)
        write_json(path, metrics)
        return metrics

    def report(self, student_batch_size: int | None) -> dict[str, Any]:
        """Its metrics at its own batch size, at the student's, and one trial at a time; and whether they leak."""
        own = self.spec.train.batch_size
        report: dict[str, Any] = {"folder": self.folder.name, "batch_size": own, **self.metrics(own)}
        if self.setting.leaks(self.spec):
            report["leaks"] = True
            self.setting.warn(
                f"under protocol '{self.setting.cell.protocol}' the teacher's sensors of the test part are those that "
                "it was trained on: its metrics say nothing of unseen performances"
            )
        if self.network.couples_batch:
            report["inductive"] = numbers(self.metrics(1))
            if student_batch_size is not None:
                report["at_student_batch_size"] = numbers(self.metrics(student_batch_size))
                lost = report["accuracy"] - report["at_student_batch_size"]["accuracy"]
                if lost > 0.05:
                    self.setting.warn(
                        f"the teacher couples the samples of a batch and loses {100 * lost:.1f} points at the "
                        f"student's batch size ({student_batch_size} instead of {own})"
                    )
        return report


def check_parts(setting: Setting) -> None:
    """Builds every network and objective, and evaluates each loss once on a few trials, before any training.

    Raises:
        UsageError: Parts or parameters that do not exist or do not fit together, or a loss that fails.
    """
    recipe = setting.cell.recipe
    specs = [spec for spec in (recipe.teacher, recipe.student) if spec is not None]
    loader = setting.loader(setting.split.train[:REHEARSED_TRIALS], *specs)
    teacher = setting.build("teacher", recipe.teacher) if recipe.teacher else None
    if recipe.teacher is not None and teacher is not None:
        objective = setting.objective("teacher", recipe.teacher, teacher, None)
        rehearse(objective, teacher, None, loader, setting.accelerator)
    if recipe.student is not None:
        student = setting.build("student", recipe.student)
        objective = setting.objective("student", recipe.student, student, teacher)
        rehearse(objective, student, teacher, loader, setting.accelerator)


def obtain_teacher(setting: Setting, root: Path, *, fresh: bool) -> Teacher:
    """Loads the shared teacher, or trains it; a second process that wants the same one waits.

    Args:
        setting: The run.
        root: Folder of all teachers.
        fresh: Train anew where an unfinished one lies; a finished one is another run's too and stays.

    Raises:
        RunFailed: It stayed at chance level, or a loss became NaN.
    """
    spec = setting.cell.recipe.teacher
    assert spec is not None
    folder = root / setting.cell.teacher_folder
    folder.mkdir(parents=True, exist_ok=True)
    network = setting.build("teacher", spec)
    with fixed_threads(setting.cell.threads), _alone(folder, setting):
        if not all((folder / name).is_file() for name in ("teacher.json", "teacher.safetensors")):
            if fresh:
                _forget(folder)
            make = _train_teacher if spec.weights is None else _leave_untrained
            make(setting, spec, network, folder)
    network.load_state_dict(read_safetensors(folder / "teacher.safetensors"))
    if setting.cell.recipe.compile:
        network.compile()
    record = read_json(folder / "teacher.json")
    return Teacher(network.eval(), folder, record, setting, spec)


@contextmanager
def _alone(folder: Path, setting: Setting) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        setting.reporter.message(f"another process trains this teacher; waiting for it: {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def teacher_training(setting: Setting, spec: NetworkSpec, network: Network, folder: Path) -> Training:
    """The teacher's training, ready to run."""
    loader = setting.loader(setting.split.train, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    return _training(
        "teacher", setting, spec, network, setting.objective("teacher", spec, network, None), loader, folder
    )


def _train_teacher(setting: Setting, spec: NetworkSpec, network: Network, folder: Path) -> None:
    training = teacher_training(setting, spec, network, folder)
    announce(training, done=len(records_of(folder)))
    records = training.run()
    train_accuracy = _check_above_chance(setting, spec, network, training.loader, records)
    best = training.best if training.keep_best else None
    _keep_teacher(setting, spec, network, folder, train_accuracy, records, best)
    _forget_checkpoint(folder)


def _leave_untrained(setting: Setting, spec: NetworkSpec, network: Network, folder: Path) -> None:
    """The control's teacher: its representation knows the training part, its weights know nothing."""
    loader = setting.loader(setting.split.train, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    predictions = predict(network, loader, batch_size=spec.train.batch_size, accelerator=setting.accelerator)
    _keep_teacher(setting, spec, network, folder, predictions.accuracy, [], None)


def _keep_teacher(
    setting: Setting,
    spec: NetworkSpec,
    network: Network,
    folder: Path,
    train_accuracy: float,
    records: list[Record],
    best: dict[str, Any] | None,
) -> None:
    export(network, folder / "teacher.safetensors", setting, spec)
    record = {
        "recipe": spec.model_dump(mode="json"),
        "train_accuracy": train_accuracy,
        "epochs": len(records),
        "best": best,
        "seconds": sum((r["seconds"] for r in records), 0.0),
        "provenance": network.provenance,
        "couples_batch": network.couples_batch,
    }
    write_json(folder / "teacher.json", record)


def _check_above_chance(
    setting: Setting, spec: NetworkSpec, network: Network, loader: Loader, records: list[Record]
) -> float:
    """A teacher that knows nothing would make every distillation loss noise; judged on the training part alone."""
    predictions = predict(network, loader, batch_size=spec.train.batch_size, accelerator=setting.accelerator)
    count, most = len(predictions.labels), int(np.bincount(predictions.labels).max())
    verdict = above_chance(round(predictions.accuracy * count), count, most)
    found = f"{100 * predictions.accuracy:.1f} % of its own training part"
    always = f"always naming one class gives {100 * most / count:.1f} %"
    if verdict == "no":
        raise RunFailed(
            f"the teacher stayed at chance level: {found} after {counted(len(records), 'epoch')}, where {always}",
            hint="Train it longer (--set teacher.train.epochs=…) or at another rate (--set teacher.train.lr=…).",
        )
    if verdict == "unclear":
        setting.warn(
            f"{counted(count, 'trial')} cannot tell whether the teacher has learnt anything: it names {found} right, "
            f"and {always}"
        )
    return predictions.accuracy


@dataclass
class Student:
    """A trained student.

    Attributes:
        network: The network, in eval mode.
        objective: Its losses, with whatever they learnt.
        records: One record an epoch.
        best: Epoch and accuracy of the best validation epoch, where that is the rule.
    """

    network: Network
    objective: Objective
    records: list[Record]
    best: dict[str, Any] | None


def student_training(setting: Setting, spec: NetworkSpec, teacher: Teacher | None, folder: Path) -> Training:
    """The student's training against the frozen teacher, ready to run."""
    network = setting.build("student", spec)
    specs = [spec] if teacher is None else [spec, teacher.spec]
    loader = setting.loader(setting.split.train, *specs)
    if spec.modality == SENSORS:
        network.fit({name: loader.all_series(name) for name in network.sources})
    objective = setting.objective("student", spec, network, teacher.network if teacher else None)
    training = _training("student", setting, spec, network, objective, loader, folder)
    if teacher is not None:
        training.teacher = FrozenTeacher(
            teacher.network,
            loader,
            fields=objective.teacher_fields,
            ablation=objective.ablation if "ablated_logits" in objective.needs else None,
            batch_size=teacher.spec.train.batch_size,
            accelerator=setting.accelerator,
            wrong_trials=spec.pairing is not None,
        )
    return training


def train_student(setting: Setting, spec: NetworkSpec, teacher: Teacher | None, folder: Path) -> Student:
    """Trains the student and checks that the teacher stayed what it was."""
    training = student_training(setting, spec, teacher, folder)
    announce(training, done=len(records_of(folder)))
    records = training.run()
    if training.teacher is not None:
        training.teacher.check_unchanged()
    _warn_if_vacuous(setting, records)
    best = training.best if training.keep_best else None
    return Student(training.network.eval(), training.objective, records, best)


def _training(
    phase: str,
    setting: Setting,
    spec: NetworkSpec,
    network: Network,
    objective: Objective,
    loader: Loader,
    folder: Path,
) -> Training:
    selection = setting.cell.recipe.selection
    validates = selection.rule == "best-val" or (selection.part == "validation" and setting.validates)
    # Only what is reported is chosen so: the teacher is the one that all other runs share.
    oracle = selection.is_oracle and spec is setting.cell.recipe.reported
    watched = setting.split.test if oracle else setting.split.validation
    if setting.cell.recipe.compile:
        # The norm of every term's gradient goes through one graph again and again: its buffers must outlive a pass.
        functorch_config.donated_buffer = False
        network.compile()
    return Training(
        phase=phase,
        network=network,
        objective=objective,
        spec=spec,
        loader=loader,
        pairing=setting.pairing,
        accelerator=setting.accelerator,
        folder=folder,
        reporter=setting.reporter,
        classes=setting.classes,
        watched=setting.loader(watched, spec) if oracle or validates else None,
        watched_part="test" if oracle else "validation",
        keep_best=oracle or selection.rule == "best-val",
        on_epoch=setting.on_epoch,
    )


def _warn_if_vacuous(setting: Setting, records: list[Record]) -> None:
    for name in records[-1]["grad_norms"]:
        # A term of weight 0 is watched on purpose; a norm that is None was not finite.
        norms = [record["grad_norms"][name] for record in records[1:] if record["weights"][name]]
        if norms and all(norm == 0 for norm in norms):
            setting.warn(f"the loss '{name}' gave the student no gradient after the first epoch")
    for name in records[-1]["diagnostics"]:
        shares = [record["diagnostics"][name] for record in records[1:]]
        if name.endswith("/constant_share") and shares and all(s is not None and s > 0.95 for s in shares):
            setting.warn(
                f"{name.partition('/')[0]}: over 95 % of the samples had a slope of zero, so the term is constant"
            )


def export(network: Network, path: Path, setting: Setting, spec: NetworkSpec) -> None:
    """Writes a network's weights, without projectors or anything else that only its training needed."""
    write_safetensors(path, network.state_dict(), metadata=_card(setting, spec))


def records_of(folder: Path) -> list[Record]:
    """The epochs that a folder's `metrics.jsonl` holds."""
    path = folder / "metrics.jsonl"
    return read_jsonl(path) if path.is_file() else []


def _card(setting: Setting, spec: NetworkSpec) -> dict[str, str]:
    return {
        "format": "pt",
        "network": spec.model_dump_json(),
        "classes": json.dumps(setting.classes),
        "dataset": setting.cell.dataset.card.name,
    }


def _forget(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    _forget_checkpoint(folder)


def _forget_checkpoint(folder: Path) -> None:
    for path in sorted((folder / "checkpoint").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
