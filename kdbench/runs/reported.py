"""The network that a run reports: what it predicts, and what it costs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.evaluation.metrics import numbers
from kdbench.evaluation.predict import Predictions, mean_of, predict
from kdbench.evaluation.probe import Probed, fit_probe, probe
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.runs import cost
from kdbench.runs.context import RunContext
from kdbench.runs.faculty import Ensemble, of_parts
from kdbench.runs.student import Student
from kdbench.runs.training import records_of


@dataclass(frozen=True)
class Reported:
    """The student, or where there is none the teacher, after all training; nothing here selects anything.

    Attributes:
        context: What it is a run of.
        teachers: The trained teachers.
        student: The trained student, or None where the teacher is reported.
    """

    context: RunContext
    teachers: Sequence[Ensemble]
    student: Student | None

    @property
    def network(self) -> Network:
        """The network that is reported; of an ensemble its first one, which stands for the others."""
        return self.student.network if self.student else of_parts(self.teachers)[0].network

    @property
    def asked(self) -> list[Network]:
        """The networks that predict: the reported one and, where the mean of both does, its teacher's first."""
        if self.context.run_spec.recipe.predicts is None:
            return [self.network]
        return [self.network, of_parts(self.teachers)[0].network]

    @property
    def couples_batch(self) -> bool:
        """Whether batch mates change what is predicted."""
        return any(network.couples_batch for network in self.asked)

    def predictions(self, without: Collection[str] | None = None, *, batch_size: int | None = None) -> Predictions:
        """Predicts the reported part, after all training; nothing of it selects anything.

        Where the mean of student and teacher predicts, one of them that lacks all of its sources is not asked.

        Args:
            without: Sources that are missing; by default those of the recipe.
            batch_size: Trials in a batch; by default the reported network's.
        """
        context, recipe = self.context, self.context.run_spec.recipe
        missing = recipe.without if without is None else without
        lacking = frozenset(context.run_spec.dataset.source(name) for name in missing)
        size = batch_size or recipe.reported.train.batch_size

        def sees_something(spec: NetworkSpec) -> bool:
            return not lacking.issuperset(context.run_spec.sees(spec))

        each: list[Predictions] = []
        if self.student is not None and (recipe.predicts is None or sees_something(recipe.reported)):
            loader, network = context.loader(context.reported_trials(), recipe.reported), self.student.network
            each += [predict(network, loader, batch_size=size, accelerator=context.accelerator, without=lacking)]
        if self.student is None or recipe.predicts is not None:
            (teacher,) = self.teachers
            if not each or sees_something(teacher.members[0].spec):
                each += [teacher.predictions(size, lacking)]
        return mean_of(each)

    def without_each(self) -> dict[str, Any]:
        """Metrics with each source of what predicts taken away, one at a time; nothing where it sees one."""
        recipe = self.context.run_spec.recipe
        sources = recipe.shown(self.context.run_spec.dataset.sensors)
        left = [name for name in sources if name not in recipe.without]
        if len(left) < 2:
            return {}
        each = {name: self.predictions((*recipe.without, name)) for name in left}
        return {
            "without": {name: numbers(predictions.metrics(self.context.classes)) for name, predictions in each.items()}
        }

    def probed(self, batch_size: int | None = None) -> Probed:
        """What probes of the student's frozen embedding say of the reported part; they see every label that trains."""
        context, spec = self.context, self.context.run_spec.recipe.reported
        own, accelerator = spec.train.batch_size, context.accelerator
        train = context.loader(context.split.train, spec)
        fitted = fit_probe(self.network, train, batch_size=own, classes=len(context.classes), accelerator=accelerator)
        part = context.loader(context.reported_trials(), spec)
        return probe(fitted, self.network, part, batch_size=batch_size or own, accelerator=accelerator)

    def inductive(self) -> dict[str, int | float]:
        """The metrics of what predicts one trial at a time, where batch mates change its predictions."""
        if self.context.run_spec.recipe.track.is_transfer_alone:
            return numbers(self.probed(1).linear.metrics(self.context.classes))
        return numbers(self.predictions(batch_size=1).metrics(self.context.classes))

    def cost(self, peak_bytes: int) -> dict[str, Any]:
        """What the networks that predict, and the training of the reported one, cost.

        Args:
            peak_bytes: The most memory that it took.
        """
        recipe, asked, student = self.context.run_spec.recipe, self.asked, self.student
        networks = of_parts(self.teachers)
        device = self.context.accelerator.device
        one = next(iter(self.context.loader(self.context.reported_trials()[:1], *recipe.asked).batches([0], 1)))

        def forward() -> Any:
            with self.context.accelerator.autocast():
                # As `forward`: a compiled network would make a graph of one trial for this alone.
                return [network.forward(network.represent(one)) for network in asked]

        trained = student.records if student else records_of(networks[0].folder)
        return {
            "parameters": sum(map(cost.parameters, asked)),
            "flops": cost.flops(forward),
            "latency_ms": cost.latency_ms(forward, device),
            "seconds_per_epoch": float(np.median([r["seconds"] for r in trained] or [0.0])),
            "train_seconds": sum(r["seconds"] for r in trained),
            "teacher_seconds": sum(teacher.record["seconds"] for teacher in networks) if networks else None,
            "wait_share": float(np.mean([r["wait_share"] for r in trained] or [0.0])),
            "peak_memory_bytes": peak_bytes,
        }
