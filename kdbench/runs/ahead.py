"""What a run finds out before the first training: whether all can be built, and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdbench.data.loader import batch_count
from kdbench.engine import checkpoint
from kdbench.engine.estimate import expected, said
from kdbench.engine.objective import Objective
from kdbench.engine.parts import TRIALS, refuse_parts
from kdbench.engine.rehearsal import rehearse
from kdbench.errors import UsageError
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import key_of
from kdbench.runs.context import RunContext
from kdbench.runs.faculty import heads_of, peers_of, untrained_networks
from kdbench.runs.student import student_steps, student_training
from kdbench.runs.teacher import RECORD, Teacher, teacher_training
from kdbench.runs.training import records_of
from kdbench.runs.weights import load_files

REHEARSED_TRIALS = 2


def check_parts(context: RunContext) -> None:
    """Builds every network and objective, and evaluates each loss once on a few trials, before any training.

    Raises:
        UsageError: Parts or parameters that do not exist or do not fit together, or a loss that fails.
    """
    recipe = context.run_spec.recipe
    if recipe.compile and (again := [key for key, spec in recipe.by_key.items() if spec.train.checkpointing]):
        raise UsageError(
            f"{again[0]}.train.checkpointing: a compiled network chooses itself what is computed again",
            hint=f"Leave one of the two out: --set {again[0]}.train.checkpointing=false",
        )
    in_parts = any(spec.train.accumulate > 1 for spec in recipe.networks)
    few = context.split.train[: TRIALS if in_parts else REHEARSED_TRIALS]
    loader = context.loader(few, *recipe.networks, trained=recipe.networks)
    pairs = untrained_networks(context)
    # One of each teacher: its networks are built alike.
    for part, teacher in {part.name: (part, teacher) for part, teacher in pairs}.values():
        load_files(teacher, part.spec, part.key)
        objective = context.objective("teacher", part.spec, teacher, key=part.key)
        parts = _in_parts(part.spec, part.key, objective, teacher)
        rehearse(objective, teacher, (), loader, context.accelerator, parts_of=parts)
    if recipe.student is not None:
        student = context.build("student", recipe.student)
        if recipe.student.is_untrained:
            return
        load_files(student, recipe.student, "student")
        if recipe.track.is_transfer_alone:
            loader = context.loader(few, *recipe.networks, labelled=(), trained=recipe.networks)
        peers = peers_of(context, student)
        for peer in peers:
            parts = _in_parts(recipe.student, key_of(peer.name), peer.objective, peer.network)
            rehearse(peer.objective, peer.network, [student], loader, context.accelerator, parts_of=parts)
        heads = [*heads_of(pairs), *((peer.name, peer.network) for peer in peers)]
        objective = context.objective("student", recipe.student, student, heads)
        taught_by = [network for _, network in heads]
        parts = _in_parts(recipe.student, "student", objective, student, taught_by)
        if parts is not None and not recipe.track.is_whole:
            raise UsageError(
                "student.train.accumulate: not every trial has a label or a pair, and a part of a batch may have none",
                hint="Leave it out: --set student.train.accumulate=1",
            )
        rehearse(objective, student, taught_by, loader, context.accelerator, parts_of=parts)


def _in_parts(
    spec: NetworkSpec, key: str, objective: Objective, network: Network, teachers: Sequence[Network] = ()
) -> str | None:
    """The key of a network whose batches are computed in parts, where they can be."""
    refuse_parts(spec.train, key, objective, network, teachers)
    return key if spec.train.accumulate > 1 else None


def announce(context: RunContext, teachers: Path, folder: Path) -> None:
    """Says how long what is left of both trainings will take, before the first of them starts.

    Args:
        context: The run.
        teachers: Folder of all teachers.
        folder: The run's own.
    """
    recipe = context.run_spec.recipe
    phases, made = [], []
    for part, network in untrained_networks(context):
        place = teachers / context.run_spec.teacher_folder(part)
        # The trials of one batch are enough to time a step.
        trials, size = context.run_spec.trials_of(part), part.spec.train.batch_size
        training = teacher_training(context.for_part(part), part, network, place, trials=trials[:size])
        made.append(Teacher(network, place, {}, context, part))
        if part.spec.weights is None and not (place / RECORD).is_file():
            done = checkpoint.epochs_done(place / "checkpoint", training.binding)
            steps = batch_count(context.run_spec.draws_of(part), size, join_single=True)
            phases.append(expected(training, steps=steps, done=done))
    if recipe.student is not None and not recipe.student.is_untrained:
        trials, spec = context.split.train, recipe.student
        scarce = context.supervision.scarce
        # A mixed batch has scarce trials in it, which a cut of the first ones might miss.
        first = sorted(trials, key=lambda trial: trial not in scarce)
        few = tuple(first[: spec.train.batch_size])
        training = student_training(context, spec, made, folder, trials=few)
        # Whose state it is depends on a teacher that may not be there yet.
        done = len(records_of(folder))
        phases.append(expected(training, steps=student_steps(context, spec), done=done))
    if (line := said(phases, context.accelerator.device)) is not None:
        context.reporter.message(line)
