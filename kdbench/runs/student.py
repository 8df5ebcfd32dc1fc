"""A student: trained against a teacher, or alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.data.loader import Loader, batch_count
from kdbench.data.tracks import mixed_steps
from kdbench.engine.heads import take_over
from kdbench.engine.loop import Record, Training
from kdbench.engine.objective import Objective
from kdbench.engine.peers import Peer
from kdbench.engine.teacher import FrozenTeacher
from kdbench.engine.teachers import FrozenTeachers
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.runs.context import RunContext
from kdbench.runs.faculty import heads_of, peers_of
from kdbench.runs.teacher import WEIGHTS, Teacher
from kdbench.runs.training import training_of
from kdbench.runs.weights import load_files


@dataclass
class Student:
    """A trained student.

    Attributes:
        network: The network, in eval mode.
        objective: Its losses, with whatever they learnt; None where nothing was trained.
        records: One record per epoch.
        peers: The teachers that trained with it.
        best: Epoch and accuracy of the best validation epoch, where that is the rule.
    """

    network: Network
    objective: Objective | None
    records: list[Record]
    best: dict[str, Any] | None
    peers: tuple[Peer, ...] = ()


def student_training(
    context: RunContext,
    spec: NetworkSpec,
    teachers: Sequence[Teacher],
    folder: Path,
    *,
    trials: tuple[str, ...] | None = None,
) -> Training:
    """The student's training against frozen teachers, ready to run.

    Args:
        context: The run.
        spec: Its recipe.
        teachers: Every network of every teacher, in the order of the run's parts.
        folder: Where its checkpoint and its log go.
        trials: What it trains on; by default the training part.
    """
    network = context.build("student", spec)
    load_files(network, spec, "student")
    trained = (spec, *context.run_spec.recipe.joint_teachers.values())
    loader = context.loader(
        context.split.train if trials is None else trials,
        *trained,
        *(teacher.spec for teacher in teachers),
        labelled=context.supervision.labelled,
        trained=trained,
    )
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    peers = peers_of(context, network, loader)
    for peer in peers:
        peer.network.fit({name: loader.all_series(name) for name in loader.sensors})
    heads = heads_of([(teacher.part, teacher.network) for teacher in teachers])
    heads += [(peer.name, peer.network) for peer in peers]
    if spec.head is not None:
        take_over(network, heads[0][1], next(iter(loader.batches([0], 1))))
    objective = context.objective("student", spec, network, heads, loader=loader)
    training = training_of("student", context, spec, network, objective, loader, folder)
    training.peers = tuple(peers)
    given = context.supervision
    training.scarce = given.positions(loader.trials)
    training.unlabelled = context.run_spec.recipe.track.is_transfer_alone
    training.quota = context.run_spec.recipe.track.quota_of(spec.train.batch_size, given.share)
    if not teachers:
        return training
    # A state belongs to the teachers that it learnt from: with others it is another training's.
    hashes = [teacher.record.get("files", {}).get(WEIGHTS) for teacher in teachers]
    training.binding = {**training.binding, "teacher": hashes[0] if len(hashes) == 1 else hashes}
    frozen = [
        FrozenTeacher(
            teacher.network,
            loader,
            fields=objective.teacher_fields,
            ablation=objective.ablation if "ablated_logits" in objective.needs else None,
            batch_size=teacher.spec.train.batch_size,
            accelerator=context.accelerator,
            wrong_trials=spec.pairing is not None,
        )
        for teacher in teachers
    ]
    if context.run_spec.recipe.compile:
        for one in frozen:
            one.compile()
    training.teacher = FrozenTeachers(frozen, [_teaches(context, teacher, loader) for teacher in teachers])
    if objective.needs_errors:
        objective.tell(training.teacher.errors(loader, spec.train.batch_size))
    return training


def _teaches(context: RunContext, teacher: Teacher, loader: Loader) -> frozenset[str] | None:
    """The trials that one network teaches: those that it has not seen where a teacher is cross-fitted, else None."""
    part = teacher.part
    if part.fold is None:
        return None
    folds = context.run_spec.folds(part.spec.folds or 1)
    # A trial that no network has seen is taught by the first.
    return frozenset(trial for trial in loader.trials if folds.get(trial, 0) == part.fold)


def student_steps(context: RunContext, spec: NetworkSpec) -> int:
    """Steps of an epoch over the whole training part."""
    size, count, given = spec.train.batch_size, len(context.split.train), context.supervision
    if not given.scarce:
        return batch_count(count, size, join_single=True)
    return mixed_steps(count - len(given.scarce), size, context.run_spec.recipe.track.quota_of(size, given.share))


def train_student(context: RunContext, spec: NetworkSpec, teachers: Sequence[Teacher], folder: Path) -> Student:
    """Trains the student and checks that the teacher stayed what it was; one with random weights stays as it is."""
    if spec.is_untrained:
        return _untrained_student(context, spec)
    context.processes.summon(context.accelerator.device, phase="student")
    training = student_training(context, spec, teachers, folder)
    records = training.run()
    if training.teacher is not None:
        training.teacher.check_unchanged()
    _warn_if_vacuous(context, records)
    best = training.best if training.keep_best else None
    for peer in training.peers:
        peer.network.eval()
    return Student(training.network.eval(), training.objective, records, best, training.peers)


def _untrained_student(context: RunContext, spec: NetworkSpec) -> Student:
    """The student's initial weights, the same that every method begins with; its representation is fitted."""
    network = context.build("student", spec)
    loader = context.loader(context.split.train, spec)
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    return Student(network.eval(), None, [], None)


def _warn_if_vacuous(context: RunContext, records: list[Record]) -> None:
    for name in records[-1]["grad_norms"]:
        # A term of weight 0 is watched on purpose; a norm that is None was not finite.
        measured = [record for record in records[1:] if record["grad_norms"]]
        norms = [record["grad_norms"][name] for record in measured if record["weights"][name]]
        if norms and all(norm == 0 for norm in norms):
            context.warn(f"the loss '{name}' gave the student no gradient after the first epoch")
    for name in records[-1]["diagnostics"]:
        shares = [record["diagnostics"][name] for record in records[1:]]
        if name.endswith("/constant_share") and shares and all(s is not None and s > 0.95 for s in shares):
            context.warn(
                f"{name.partition('/')[0]}: over 95 % of the samples had a slope of zero, so the term is constant"
            )
