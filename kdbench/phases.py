"""The two phases of a run: a teacher, trained once and shared; then the student against it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock
from scipy.stats import binom

from kdbench.cell import Cell
from kdbench.data.loader import Loader
from kdbench.data.protocol import Split
from kdbench.engine.estimate import announce
from kdbench.engine.evaluate import Predictions, predict
from kdbench.engine.loop import Pairing, Record, Training
from kdbench.engine.objective import Objective, declared_needs
from kdbench.engine.progress import Reporter
from kdbench.engine.teacher import FrozenTeacher
from kdbench.errors import RunFailed, UsageError
from kdbench.network import Network, build_network
from kdbench.recipe import NetworkSpec
from kdbench.results.files import read_json, read_jsonl, read_safetensors, write_json, write_safetensors
from kdbench.semantics.base import LabelVectors
from kdbench.types import SENSORS, VIDEO, Context

# Parts up to this size stay in memory, on the GPU where there is one; larger ones stream from the memory map.
MEMORY_BYTES = 512 << 20
CHANCE_P_VALUE = 1e-3


@dataclass
class Setting:
    """What both phases of a run share.

    Attributes:
        cell: What the run is a run of.
        split: Trial ids of each part.
        accelerator: Device and precision.
        reporter: Shows the progress.
        label_vectors: Vectors of the class names, where a loss needs them.
        on_epoch: Called with each epoch's record.
        warnings: Lines that the result repeats.
    """

    cell: Cell
    split: Split
    accelerator: Accelerator
    reporter: Reporter
    label_vectors: LabelVectors | None
    on_epoch: Callable[[Record], None] = lambda _record: None
    warnings: list[str] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.cell.dataset.card.class_names

    @property
    def pairing(self) -> Pairing:
        """Names that seeds derive from."""
        return Pairing(self.cell.dataset.card.name, self.cell.protocol, self.cell.seed)

    def warn(self, text: str) -> None:
        """Shows a warning and keeps it for the result."""
        if text not in self.warnings:
            self.warnings.append(text)
        self.reporter.warn(text)

    def loader(self, trials: tuple[str, ...], *specs: NetworkSpec) -> Loader:
        """A loader of some trials with what the networks see."""
        dataset, data = self.cell.dataset, self.cell.recipe.data
        sensors = sorted({s for spec in specs if spec.modality == SENSORS for s in spec.sensors or dataset.sensors})
        video = any(spec.modality == VIDEO for spec in specs)
        size = len(trials) * data.frames * data.frame_size**2 * dataset.video_channels if video else 0
        return Loader(
            dataset,
            trials,
            device=self.accelerator.device,
            series_length=data.series_length,
            sensors=[name for name in dataset.sensors if name in sensors] or None,
            video=video,
            in_memory=size <= MEMORY_BYTES,
        )

    def reported_trials(self) -> tuple[str, ...]:
        """The part that the result is about."""
        return self.split.test if self.cell.recipe.selection.part == "test" else self.split.validation

    def build(self, phase: str, spec: NetworkSpec) -> Network:
        """Builds a network whose initial weights depend on the seed and its own parts alone."""
        dataset = self.cell.dataset
        if spec.modality == VIDEO:
            sources = {str(dataset.view): dataset.video_channels}
        else:
            for name in spec.sensors or ():
                if name not in dataset.sensors:
                    known = ", ".join(dataset.sensors)
                    raise UsageError(f"{phase}.sensors: {dataset.card.name} has no sensor '{name}', expected {known}")
            sources = {name: dataset.sensors[name] for name in spec.sensors or dataset.sensors}
        semantic = None
        if "semantic" in declared_needs(spec.losses) and self.label_vectors is not None:
            semantic = self.label_vectors.vectors.shape[1]
        torch.manual_seed(self.pairing.seed_of("initialisation", phase))
        network = build_network(spec, sources=sources, classes=len(self.classes), semantic=semantic)
        return network.to(self.accelerator.device)

    def objective(self, phase: str, spec: NetworkSpec, network: Network, teacher: Network | None) -> Objective:
        """Builds the losses of a phase."""
        context = Context(
            classes=len(self.classes),
            student=network.widths[0],
            teachers=tuple(teacher.widths) if teacher else (),
            label_vectors=self.label_vectors.vectors if self.label_vectors else None,
            train_size=len(self.split.train),
        )
        torch.manual_seed(self.pairing.seed_of("objective", phase))
        return Objective(spec.losses, context, owner=phase).to(self.accelerator.device)

    def validation_loader(self, spec: NetworkSpec) -> Loader | None:
        """The validation part as the network sees it, where the selection cuts one."""
        return self.loader(self.split.validation, spec) if self.cell.recipe.selection.needs_validation else None


def compiled(network: Network, setting: Setting) -> Network:
    """Compiles the network in place where the recipe asks for it."""
    if setting.cell.recipe.compile:
        network.compile()
    return network


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
        """Its metrics at its own batch size, at the student's, and one trial at a time."""
        own = self.spec.train.batch_size
        report: dict[str, Any] = {"folder": self.folder.name, "batch_size": own, **self.metrics(own)}
        if self.network.couples_batch:
            report["inductive"] = _short(self.metrics(1))
            if student_batch_size is not None:
                report["at_student_batch_size"] = _short(self.metrics(student_batch_size))
                lost = report["accuracy"] - report["at_student_batch_size"]["accuracy"]
                if lost > 0.05:
                    self.setting.warn(
                        f"the teacher couples the samples of a batch and loses {100 * lost:.1f} points at the "
                        f"student's batch size ({student_batch_size} instead of {own})"
                    )
        return report


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
    with FileLock(folder / ".lock"):
        if not (folder / "teacher.json").is_file():
            if fresh:
                _forget(folder)
            _train_teacher(setting, spec, network, folder)
    network.load_state_dict(read_safetensors(folder / "teacher.safetensors"))
    record = read_json(folder / "teacher.json")
    return Teacher(network.eval(), folder, record, setting, spec)


def _train_teacher(setting: Setting, spec: NetworkSpec, network: Network, folder: Path) -> None:
    loader = setting.loader(setting.split.train, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    training = Training(
        phase="teacher",
        network=compiled(network, setting),
        objective=setting.objective("teacher", spec, network, None),
        spec=spec,
        loader=loader,
        pairing=setting.pairing,
        accelerator=setting.accelerator,
        folder=folder,
        reporter=setting.reporter,
        classes=setting.classes,
        validation=setting.validation_loader(spec),
        keep_best=setting.cell.recipe.selection.rule == "best-val",
        on_epoch=setting.on_epoch,
    )
    announce(training)
    started = time.perf_counter()
    records = training.run()
    train_accuracy = _check_above_chance(setting, spec, network, loader, records)
    write_safetensors(folder / "teacher.safetensors", network.state_dict(), metadata=_card(setting, spec))
    record = {
        "recipe": spec.model_dump(mode="json"),
        "train_accuracy": train_accuracy,
        "epochs": len(records),
        "best": training.best if training.keep_best else None,
        "seconds": sum(r["seconds"] for r in records),
        "seconds_this_process": time.perf_counter() - started,
        "provenance": network.provenance,
        "couples_batch": network.couples_batch,
    }
    write_json(folder / "teacher.json", record)
    _forget_checkpoint(folder)


def _check_above_chance(
    setting: Setting, spec: NetworkSpec, network: Network, loader: Loader, records: list[Record]
) -> float:
    """A teacher that knows nothing would make every distillation loss noise; judged on the training part alone."""
    predictions = predict(network, loader, batch_size=spec.train.batch_size, accelerator=setting.accelerator)
    labels = torch.from_numpy(predictions.labels)
    share = torch.bincount(labels).max().item() / len(labels)
    correct = predictions.accuracy * len(labels)
    if binom.sf(correct - 1, len(labels), share) > CHANCE_P_VALUE:
        raise RunFailed(
            f"the teacher stayed at chance level: {100 * predictions.accuracy:.1f} % of its own training part after "
            f"{len(records)} epochs, where always naming one class gives {100 * share:.1f} %",
            hint="Train it longer (--set teacher.train.epochs=…) or at another rate (--set teacher.train.lr=…).",
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


def train_student(setting: Setting, spec: NetworkSpec, teacher: Teacher | None, folder: Path) -> Student:
    """Trains the student against the frozen teacher and checks that the teacher stayed what it was."""
    recipe = setting.cell.recipe
    network = setting.build("student", spec)
    specs = [spec] if teacher is None else [spec, teacher.spec]
    loader = setting.loader(setting.split.train, *specs)
    if spec.modality == SENSORS:
        network.fit({name: loader.all_series(name) for name in network.sources})
    objective = setting.objective("student", spec, network, teacher.network if teacher else None)
    frozen = None
    if teacher is not None:
        frozen = FrozenTeacher(
            teacher.network,
            loader,
            fields=objective.teacher_fields,
            ablation=objective.ablation if "ablated_logits" in objective.needs else None,
            batch_size=teacher.spec.train.batch_size,
            accelerator=setting.accelerator,
        )
    training = Training(
        phase="student",
        network=compiled(network, setting),
        objective=objective,
        spec=spec,
        loader=loader,
        pairing=setting.pairing,
        accelerator=setting.accelerator,
        folder=folder,
        reporter=setting.reporter,
        classes=setting.classes,
        teacher=frozen,
        validation=setting.validation_loader(spec),
        keep_best=recipe.selection.rule == "best-val",
        on_epoch=setting.on_epoch,
    )
    announce(training)
    records = training.run()
    if frozen is not None:
        frozen.check_unchanged()
    _warn_if_vacuous(setting, records)
    return Student(network.eval(), objective, records, training.best if training.keep_best else None)


def _warn_if_vacuous(setting: Setting, records: list[Record]) -> None:
    for name in records[-1]["grad_norms"]:
        if len(records) > 1 and all(not record["grad_norms"][name] for record in records[1:]):
            setting.warn(f"the loss '{name}' gave the student no gradient after the first epoch")
    for name in records[-1]["diagnostics"]:
        shares = [record["diagnostics"][name] for record in records[1:]]
        if name.endswith("/constant_share") and shares and min(s for s in shares if s is not None) > 0.95:
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


def _short(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if isinstance(value, int | float)}


def _forget(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    _forget_checkpoint(folder)


def _forget_checkpoint(folder: Path) -> None:
    for path in sorted((folder / "checkpoint").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
