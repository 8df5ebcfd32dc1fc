"""A teacher: trained once, and shared by every run that asks for the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from kdbench.data.loader import Loader
from kdbench.engine.chance import above_chance
from kdbench.engine.device import fixed_threads
from kdbench.engine.loop import Record, Training
from kdbench.errors import DataError, RunFailed
from kdbench.evaluation.metrics import numbers
from kdbench.evaluation.predict import Predictions, predict
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.runs.context import RunContext
from kdbench.runs.teacher_part import TeacherPart
from kdbench.runs.training import export, forget_checkpoint, forget_training, training_of
from kdbench.runs.weights import load_files
from kdbench.text.wording import counted
from kdbench.util import records as files
from kdbench.util.files import remove_unfinished, unwritable
from kdbench.util.records import SEAL, read_json, read_safetensors, write_json

RECORD, WEIGHTS = "teacher.json", "teacher.safetensors"
"""Files of a finished teacher; the record names the hashes of the others."""


@dataclass
class Teacher:
    """A trained teacher and its folder.

    Attributes:
        network: The network, in eval mode.
        folder: `teachers/<name>`.
        record: What its `teacher.json` says.
        context: The run that uses it.
        part: Which network it is, of which teacher.
    """

    network: Network
    folder: Path
    record: dict[str, Any]
    context: RunContext
    part: TeacherPart

    @property
    def spec(self) -> NetworkSpec:
        """Its recipe."""
        return self.part.spec

    def predictions(self, batch_size: int, without: Collection[str] = ()) -> Predictions:
        """Class scores on the reported part, in batches of a size.

        Args:
            batch_size: Trials in a batch.
            without: Sources that are missing, by their names in the network.
        """
        loader = self.context.loader(self.context.reported_trials(self.spec), self.spec)
        return predict(
            self.network, loader, batch_size=batch_size, accelerator=self.context.accelerator, without=without
        )

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


def obtain_teacher(context: RunContext, root: Path, part: TeacherPart, *, fresh: bool) -> Teacher:
    """Loads a shared network of a teacher, or trains it; a second process that wants the same one waits.

    Args:
        context: The run.
        root: Folder of all teachers.
        part: Which network.
        fresh: Train anew where an unfinished one lies; a finished one is another run's too and stays.

    Raises:
        RunFailed: It stayed at chance level, or a loss became NaN.
    """
    context, spec = context.for_part(part), part.spec
    folder = root / context.run_spec.teacher_folder(part)
    network = context.build("teacher", spec, part.key)
    with fixed_threads(context.run_spec.threads), _alone(folder, context):
        remove_unfinished(folder)
        remove_unfinished(folder / "checkpoint")
        record = finished_teacher(folder, context.warn)
        if record is None:
            if fresh:
                forget_training(folder)
            make = _leave_untrained if spec.is_untrained else _train_teacher
            if spec.weights_file is not None:
                make = _take_from_file
            record = make(context, part, network, folder)
        else:
            # A process that was killed after its last word may have left it.
            forget_checkpoint(folder)
        network.load_state_dict(read_safetensors(folder / WEIGHTS))
    return Teacher(network.eval(), folder, record, context, part)


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
            # A record that does not name the weights cannot vouch for them.
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
            # Tried without waiting first, so that the waiting is announced.
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


def teacher_training(
    context: RunContext, part: TeacherPart, network: Network, folder: Path, *, trials: tuple[str, ...] | None = None
) -> Training:
    """The training of a teacher's network, ready to run.

    Args:
        context: The run, as the part sees it.
        part: Which network.
        network: The network.
        folder: Where its checkpoint and its log go.
        trials: What it trains on; by default the training part.
    """
    spec = part.spec
    draws = context.run_spec.draws_of(part) if trials is None else 0
    trials = context.run_spec.trials_of(part) if trials is None else trials
    load_files(network, spec, part.key)
    loader = context.loader(trials, spec, trained=(spec,))
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    objective = context.objective("teacher", spec, network, key=part.key, loader=loader)
    training = training_of("teacher", context, spec, network, objective, loader, folder)
    training.title = part.title
    training.draws = draws
    training.binding = {"phase": "teacher", "folder": context.run_spec.teacher_folder(part)}
    return training


def begun_teacher(context: RunContext, part: TeacherPart, folder: Path) -> Training:
    """The same of a network as it is before any training."""
    context = context.for_part(part)
    return teacher_training(context, part, context.build("teacher", part.spec, part.key), folder)


def reopened_teacher(context: RunContext, root: Path, part: TeacherPart) -> Teacher:
    """A teacher that another process of the run has made; arguments as of `obtain_teacher`."""
    context = context.for_part(part)
    folder = root / context.run_spec.teacher_folder(part)
    network = context.build("teacher", part.spec, part.key)
    network.load_state_dict(read_safetensors(folder / WEIGHTS))
    return Teacher(network.eval(), folder, read_json(folder / RECORD), context, part)


def _train_teacher(context: RunContext, part: TeacherPart, network: Network, folder: Path) -> dict[str, Any]:
    number = context.run_spec.teacher_parts.index(part)
    context.processes.summon(context.accelerator.device, phase="teacher", part=number)
    spec, training = part.spec, teacher_training(context, part, network, folder)
    records = training.run()
    train_accuracy = _check_above_chance(context, spec, network, training.loader, records)
    best = training.best if training.keep_best else None
    record = _keep_teacher(context, spec, network, folder, train_accuracy, records, best)
    forget_checkpoint(folder)
    return record


def _leave_untrained(context: RunContext, part: TeacherPart, network: Network, folder: Path) -> dict[str, Any]:
    """The control's teacher: its representation knows the training part, its weights know nothing."""
    spec = part.spec
    loader = context.loader(context.run_spec.teacher_trials, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    predictions = predict(network, loader, batch_size=spec.train.batch_size, accelerator=context.accelerator)
    return _keep_teacher(context, spec, network, folder, predictions.accuracy, [], None)


def _take_from_file(context: RunContext, part: TeacherPart, network: Network, folder: Path) -> dict[str, Any]:
    """A teacher that was trained elsewhere; it has to know the training part all the same."""
    load_files(network, part.spec, part.key)
    loader = context.loader(context.run_spec.trials_of(part), part.spec)
    train_accuracy = _check_above_chance(context, part.spec, network, loader, [])
    return _keep_teacher(context, part.spec, network, folder, train_accuracy, [], None)


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
