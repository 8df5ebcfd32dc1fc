"""The two phases of a run: a teacher, trained once and shared; then the student against it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from torch._functorch import config as functorch_config

from kdbench.data.loader import Loader, batch_count
from kdbench.data.tracks import mixed_steps
from kdbench.engine import checkpoint
from kdbench.engine.chance import above_chance
from kdbench.engine.device import fixed_threads
from kdbench.engine.estimate import expected, said
from kdbench.engine.loop import Record, Training
from kdbench.engine.objective import Objective
from kdbench.engine.rehearsal import rehearse
from kdbench.engine.teacher import FrozenTeacher
from kdbench.errors import DataError, RunFailed
from kdbench.evaluation.metrics import numbers
from kdbench.evaluation.predict import Predictions, predict
from kdbench.network import Network
from kdbench.recipes.schema import NetworkSpec
from kdbench.runs.context import RunContext
from kdbench.text.wording import counted
from kdbench.types import SENSORS
from kdbench.util import records as files
from kdbench.util.files import remove_unfinished, unwritable
from kdbench.util.records import SEAL, read_json, read_jsonl, read_safetensors, write_json, write_safetensors

RECORD, WEIGHTS = "teacher.json", "teacher.safetensors"
"""Files of a finished teacher; the record names the hashes of the others."""
REHEARSED_TRIALS = 2


@dataclass
class Teacher:
    """A trained teacher and its folder.

    Attributes:
        network: The network, in eval mode.
        folder: `teachers/<name>`.
        record: What its `teacher.json` says.
        context: The run that uses it.
        spec: Its recipe.
    """

    network: Network
    folder: Path
    record: dict[str, Any]
    context: RunContext
    spec: NetworkSpec

    def predictions(self, batch_size: int) -> Predictions:
        """Class scores on the reported part, in batches of a size."""
        loader = self.context.loader(self.context.reported_trials(), self.spec)
        return predict(self.network, loader, batch_size=batch_size, accelerator=self.context.accelerator)

    def metrics(self, batch_size: int) -> dict[str, Any]:
        """Metrics on the reported part; kept in the folder, since the same teacher serves many runs."""
        part = self.context.run_spec.recipe.selection.part
        path = self.folder / f"metrics_{part}_b{batch_size}.json"
        if path.is_file():
            kept = self._kept_metrics(path)
            if kept is not None:
                return kept
        metrics = self.predictions(batch_size).metrics(self.context.classes)
        write_json(path, files.sealed({**metrics, "weights": self.weights_sha256}, path))
        return metrics

    @property
    def weights_sha256(self) -> str:
        """Hash of the file of its weights."""
        return str(self.record["files"][WEIGHTS])

    def _kept_metrics(self, path: Path) -> dict[str, Any] | None:
        """Metrics that were measured before, if they are whole and of these very weights."""
        try:
            record = read_json(path)
        except DataError:
            record = None
        if not isinstance(record, dict) or not files.is_sealed(record):
            self.context.warn(f"{path} is damaged; the teacher is evaluated again")
            return None
        if record["weights"] != self.weights_sha256:
            return None
        return {key: value for key, value in record.items() if key not in ("weights", SEAL)}

    def report(self, student_batch_size: int | None) -> dict[str, Any]:
        """Its metrics at its own batch size, at the student's, and one trial at a time; and whether they leak."""
        own = self.spec.train.batch_size
        report: dict[str, Any] = {
            "folder": self.folder.name,
            "weights_sha256": self.weights_sha256,
            "batch_size": own,
            **self.metrics(own),
        }
        if self.context.leaks(self.spec):
            report["leaks"] = True
            self.context.warn(
                f"under protocol '{self.context.run_spec.protocol}' the teacher's sensors of the test part are those "
                "that it was trained on: its metrics say nothing of unseen performances"
            )
        if self.network.couples_batch:
            report["inductive"] = numbers(self.metrics(1))
            if student_batch_size is not None:
                report["at_student_batch_size"] = numbers(self.metrics(student_batch_size))
                lost = report["accuracy"] - report["at_student_batch_size"]["accuracy"]
                if lost > 0.05:
                    self.context.warn(
                        f"the teacher couples the samples of a batch and loses {100 * lost:.1f} points at the "
                        f"student's batch size ({student_batch_size} instead of {own})"
                    )
        return report


def check_parts(context: RunContext) -> None:
    """Builds every network and objective, and evaluates each loss once on a few trials, before any training.

    Raises:
        UsageError: Parts or parameters that do not exist or do not fit together, or a loss that fails.
    """
    recipe = context.run_spec.recipe
    loader = context.loader(context.split.train[:REHEARSED_TRIALS], *recipe.networks)
    teacher = context.build("teacher", recipe.teacher) if recipe.teacher else None
    if recipe.teacher is not None and teacher is not None:
        objective = context.objective("teacher", recipe.teacher, teacher, None)
        rehearse(objective, teacher, None, loader, context.accelerator)
    if recipe.student is not None:
        student = context.build("student", recipe.student)
        if recipe.student.weights is not None:
            return
        if recipe.track.is_transfer_alone:
            loader = context.loader(context.split.train[:REHEARSED_TRIALS], *recipe.networks, labelled=())
        objective = context.objective("student", recipe.student, student, teacher)
        rehearse(objective, student, teacher, loader, context.accelerator)


def obtain_teacher(context: RunContext, root: Path, *, fresh: bool) -> Teacher:
    """Loads the shared teacher, or trains it; a second process that wants the same one waits.

    Args:
        context: The run.
        root: Folder of all teachers.
        fresh: Train anew where an unfinished one lies; a finished one is another run's too and stays.

    Raises:
        RunFailed: It stayed at chance level, or a loss became NaN.
    """
    spec = context.run_spec.recipe.teacher
    assert spec is not None
    folder = root / context.run_spec.teacher_folder
    network = context.build("teacher", spec)
    with fixed_threads(context.run_spec.threads), _alone(folder, context):
        remove_unfinished(folder)
        remove_unfinished(folder / "checkpoint")
        record = finished_teacher(folder, context.warn)
        if record is None:
            if fresh:
                _forget(folder)
            make = _train_teacher if spec.weights is None else _leave_untrained
            record = make(context, spec, network, folder)
        else:
            # A process that was killed after its last word may have left it.
            _forget_checkpoint(folder)
        network.load_state_dict(read_safetensors(folder / WEIGHTS))
    if context.run_spec.recipe.compile:
        network.compile()
    return Teacher(network.eval(), folder, record, context, spec)


def finished_teacher(folder: Path, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """What a finished teacher's `teacher.json` says, if all of it is what was written; None without one.

    Args:
        folder: The teacher's folder.
        warn: Takes a line on a teacher that is damaged, which counts as none.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    why = None
    record: dict[str, Any] = {}
    try:
        record = read_json(path)
    except DataError as error:
        why = error.message
    else:
        if not isinstance(record, dict) or not files.is_sealed(record):
            why = f"{path} is not what was written"
        elif record.get("folder") != folder.name:
            why = f"{path} belongs to the teacher {record.get('folder')}"
        else:
            why = next(iter(files.unlike(folder, {WEIGHTS: "", **record["files"]})), None)
    if why is None:
        return record
    warn(f"a teacher is damaged, and is trained again: {why}")
    return None


@contextmanager
def _alone(folder: Path, context: RunContext) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            context.reporter.message(f"another process trains this teacher; waiting for it: {folder}")
            lock.acquire()
    except OSError as error:
        raise unwritable(error, folder, elsewhere=files.ELSEWHERE) from error
    try:
        yield
    finally:
        lock.release()


def announce(context: RunContext, teachers: Path, folder: Path) -> None:
    """Says how long what is left of both trainings will take, before the first of them starts.

    Args:
        context: The run.
        teachers: Folder of all teachers.
        folder: The run's own.
    """
    recipe = context.run_spec.recipe
    phases, teacher = [], None
    if recipe.teacher is not None:
        place = teachers / context.run_spec.teacher_folder
        network = context.build("teacher", recipe.teacher)
        trials = context.run_spec.teacher_trials
        few = trials[: recipe.teacher.train.batch_size]
        training = teacher_training(context, recipe.teacher, network, place, trials=few)
        teacher = Teacher(network, place, {}, context, recipe.teacher)
        if recipe.teacher.weights is None and not (place / RECORD).is_file():
            done = checkpoint.epochs_done(place / "checkpoint", training.binding)
            steps = batch_count(len(trials), recipe.teacher.train.batch_size, join_single=True)
            phases.append(expected(training, steps=steps, done=done))
    if recipe.student is not None and recipe.student.weights is None:
        trials, spec = context.split.train, recipe.student
        scarce = context.supervision.scarce
        first = sorted(trials, key=lambda trial: trial not in scarce)
        few = tuple(first[: spec.train.batch_size])
        training = student_training(context, spec, teacher, folder, trials=few)
        # Whose state it is depends on a teacher that may not be there yet.
        done = len(records_of(folder))
        phases.append(expected(training, steps=_student_steps(context, spec), done=done))
    if (line := said(phases, context.accelerator.device)) is not None:
        context.reporter.message(line)


def teacher_training(
    context: RunContext, spec: NetworkSpec, network: Network, folder: Path, *, trials: tuple[str, ...] | None = None
) -> Training:
    """The teacher's training, ready to run.

    Args:
        context: The run.
        spec: Its recipe.
        network: The network.
        folder: Where its checkpoint and its log go.
        trials: What it trains on; by default the training part.
    """
    loader = context.loader(context.run_spec.teacher_trials if trials is None else trials, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    return _training(
        "teacher", context, spec, network, context.objective("teacher", spec, network, None), loader, folder
    )


def _train_teacher(context: RunContext, spec: NetworkSpec, network: Network, folder: Path) -> dict[str, Any]:
    training = teacher_training(context, spec, network, folder)
    records = training.run()
    train_accuracy = _check_above_chance(context, spec, network, training.loader, records)
    best = training.best if training.keep_best else None
    record = _keep_teacher(context, spec, network, folder, train_accuracy, records, best)
    _forget_checkpoint(folder)
    return record


def _leave_untrained(context: RunContext, spec: NetworkSpec, network: Network, folder: Path) -> dict[str, Any]:
    """The control's teacher: its representation knows the training part, its weights know nothing."""
    loader = context.loader(context.run_spec.teacher_trials, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    predictions = predict(network, loader, batch_size=spec.train.batch_size, accelerator=context.accelerator)
    return _keep_teacher(context, spec, network, folder, predictions.accuracy, [], None)


def _keep_teacher(
    context: RunContext,
    spec: NetworkSpec,
    network: Network,
    folder: Path,
    train_accuracy: float,
    records: list[Record],
    best: dict[str, Any] | None,
) -> dict[str, Any]:
    export(network, folder / WEIGHTS, context, spec)
    record = {
        "folder": folder.name,
        "recipe": spec.model_dump(mode="json"),
        "train_accuracy": train_accuracy,
        "epochs": len(records),
        "best": best,
        "seconds": sum((r["seconds"] for r in records), 0.0),
        "provenance": network.provenance,
        "couples_batch": network.couples_batch,
        "files": files.hashes(folder, (WEIGHTS, *(["metrics.jsonl"] if records else []))),
    }
    record = files.sealed(record, folder / RECORD)
    write_json(folder / RECORD, record)
    return record


def _check_above_chance(
    context: RunContext, spec: NetworkSpec, network: Network, loader: Loader, records: list[Record]
) -> float:
    """A teacher that knows nothing would make every distillation loss noise; judged on the training part alone."""
    predictions = predict(network, loader, batch_size=spec.train.batch_size, accelerator=context.accelerator)
    count, most = len(predictions.labels), int(np.bincount(predictions.labels).max())
    verdict = above_chance(round(predictions.accuracy * count), count, most)
    share = f"{100 * predictions.accuracy:.1f} % of its own training part"
    always = f"always naming one class gives {100 * most / count:.1f} %"
    if verdict == "no":
        raise RunFailed(
            f"the teacher stayed at chance level: {share} after {counted(len(records), 'epoch')}, where {always}",
            hint="Train it longer (--set teacher.train.epochs=…) or at another rate (--set teacher.train.lr=…).",
        )
    if verdict == "unclear":
        context.warn(
            f"{counted(count, 'trial')} cannot tell whether the teacher has learnt anything: it names {share} right, "
            f"and {always}"
        )
    return predictions.accuracy


@dataclass
class Student:
    """A trained student.

    Attributes:
        network: The network, in eval mode.
        objective: Its losses, with whatever they learnt; None where nothing was trained.
        records: One record per epoch.
        best: Epoch and accuracy of the best validation epoch, where that is the rule.
    """

    network: Network
    objective: Objective | None
    records: list[Record]
    best: dict[str, Any] | None


def student_training(
    context: RunContext,
    spec: NetworkSpec,
    teacher: Teacher | None,
    folder: Path,
    *,
    trials: tuple[str, ...] | None = None,
) -> Training:
    """The student's training against the frozen teacher, ready to run.

    Args:
        context: The run.
        spec: Its recipe.
        teacher: The teacher, or None.
        folder: Where its checkpoint and its log go.
        trials: What it trains on; by default the training part.
    """
    network = context.build("student", spec)
    specs = [spec] if teacher is None else [spec, teacher.spec]
    loader = context.loader(
        context.split.train if trials is None else trials, *specs, labelled=context.supervision.labelled
    )
    if spec.modality == SENSORS:
        network.fit({name: loader.all_series(name) for name in network.sources})
    objective = context.objective("student", spec, network, teacher.network if teacher else None)
    training = _training("student", context, spec, network, objective, loader, folder)
    given = context.supervision
    training.scarce = given.positions(loader.trials)
    training.unlabelled = context.run_spec.recipe.track.is_transfer_alone
    training.quota = context.run_spec.recipe.track.quota_of(spec.train.batch_size, given.share)
    if teacher is not None:
        training.binding = {**training.binding, "teacher": teacher.record.get("files", {}).get(WEIGHTS)}
    if teacher is not None:
        training.teacher = FrozenTeacher(
            teacher.network,
            loader,
            fields=objective.teacher_fields,
            ablation=objective.ablation if "ablated_logits" in objective.needs else None,
            batch_size=teacher.spec.train.batch_size,
            accelerator=context.accelerator,
            wrong_trials=spec.pairing is not None,
        )
    return training


def _student_steps(context: RunContext, spec: NetworkSpec) -> int:
    """Steps of an epoch over the whole training part."""
    size, count, given = spec.train.batch_size, len(context.split.train), context.supervision
    if not given.scarce:
        return batch_count(count, size, join_single=True)
    return mixed_steps(count - len(given.scarce), size, context.run_spec.recipe.track.quota_of(size, given.share))


def train_student(context: RunContext, spec: NetworkSpec, teacher: Teacher | None, folder: Path) -> Student:
    """Trains the student and checks that the teacher stayed what it was; one with random weights stays as it is."""
    if spec.weights is not None:
        return _untrained_student(context, spec)
    training = student_training(context, spec, teacher, folder)
    records = training.run()
    if training.teacher is not None:
        training.teacher.check_unchanged()
    _warn_if_vacuous(context, records)
    best = training.best if training.keep_best else None
    return Student(training.network.eval(), training.objective, records, best)


def _untrained_student(context: RunContext, spec: NetworkSpec) -> Student:
    """The student's initial weights, the same that every method begins with; its representation is fitted."""
    network = context.build("student", spec)
    loader = context.loader(context.split.train, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    return Student(network.eval(), None, [], None)


def _training(
    phase: str,
    context: RunContext,
    spec: NetworkSpec,
    network: Network,
    objective: Objective,
    loader: Loader,
    folder: Path,
) -> Training:
    selection = context.run_spec.recipe.selection
    validates = selection.rule == "best-val" or (selection.part == "validation" and context.validates)
    # Only what is reported is chosen so: the teacher is the one that all other runs share.
    oracle = selection.is_oracle and spec is context.run_spec.recipe.reported
    watched = context.split.test if oracle else context.split.validation
    if context.run_spec.recipe.compile:
        # The norm of every term's gradient goes through one graph again and again: its buffers must outlive a pass.
        functorch_config.donated_buffer = False
        network.compile()
    return Training(
        phase=phase,
        network=network,
        objective=objective,
        spec=spec,
        loader=loader,
        pairing=context.pairing,
        accelerator=context.accelerator,
        folder=folder,
        reporter=context.reporter,
        classes=context.classes,
        watched=context.loader(watched, spec) if oracle or validates else None,
        watched_part="test" if oracle else "validation",
        keep_best=oracle or selection.rule == "best-val",
        on_epoch=context.on_epoch,
        binding=binding_of(context, phase),
        warn=context.warn,
    )


def binding_of(context: RunContext, phase: str) -> dict[str, Any]:
    """What a checkpoint of a phase is a state of; the folder's name holds the hash of all that it depends on."""
    run_spec = context.run_spec
    return {"phase": phase, "folder": run_spec.teacher_folder if phase == "teacher" else run_spec.folder}


def _warn_if_vacuous(context: RunContext, records: list[Record]) -> None:
    for name in records[-1]["grad_norms"]:
        # A term of weight 0 is watched on purpose; a norm that is None was not finite.
        norms = [record["grad_norms"][name] for record in records[1:] if record["weights"][name]]
        if norms and all(norm == 0 for norm in norms):
            context.warn(f"the loss '{name}' gave the student no gradient after the first epoch")
    for name in records[-1]["diagnostics"]:
        shares = [record["diagnostics"][name] for record in records[1:]]
        if name.endswith("/constant_share") and shares and all(s is not None and s > 0.95 for s in shares):
            context.warn(
                f"{name.partition('/')[0]}: over 95 % of the samples had a slope of zero, so the term is constant"
            )


def export(network: Network, path: Path, context: RunContext, spec: NetworkSpec) -> None:
    """Writes a network's weights, without projectors or anything else that only its training needed."""
    write_safetensors(path, network.state_dict(), metadata=_card(context, spec))


def records_of(folder: Path) -> list[Record]:
    """The epochs that a folder's `metrics.jsonl` holds; none where it is damaged, which the training itself tells."""
    try:
        return read_jsonl(folder / "metrics.jsonl")
    except DataError:
        return []


def _card(context: RunContext, spec: NetworkSpec) -> dict[str, str]:
    return {
        "format": "pt",
        "network": spec.model_dump_json(),
        "classes": json.dumps(context.classes),
        "dataset": context.run_spec.dataset.card.name,
    }


def _forget(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    _forget_checkpoint(folder)


def _forget_checkpoint(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
