"""What a run finds out before the first training: whether all can be built, and how long it will take."""

from __future__ import annotations

from pathlib import Path

from kdbench.data.loader import batch_count
from kdbench.engine import checkpoint
from kdbench.engine.estimate import expected, said
from kdbench.engine.rehearsal import rehearse
from kdbench.runs.context import RunContext
from kdbench.runs.faculty import heads_of, peers_of, untrained_networks
from kdbench.runs.student import student_steps, student_training
from kdbench.runs.teacher import RECORD, Teacher, load_file, teacher_training
from kdbench.runs.training import records_of

REHEARSED_TRIALS = 2


def check_parts(context: RunContext) -> None:
    """Builds every network and objective, and evaluates each loss once on a few trials, before any training.

    Raises:
        UsageError: Parts or parameters that do not exist or do not fit together, or a loss that fails.
    """
    recipe = context.run_spec.recipe
    loader = context.loader(context.split.train[:REHEARSED_TRIALS], *recipe.networks, trained=recipe.networks)
    pairs = untrained_networks(context)
    # One of each teacher: its networks are built alike.
    for part, teacher in {part.name: (part, teacher) for part, teacher in pairs}.values():
        load_file(teacher, part)
        objective = context.objective("teacher", part.spec, teacher, key=part.key)
        rehearse(objective, teacher, (), loader, context.accelerator)
    if recipe.student is not None:
        student = context.build("student", recipe.student)
        if recipe.student.is_untrained:
            return
        if recipe.track.is_transfer_alone:
            few = context.split.train[:REHEARSED_TRIALS]
            loader = context.loader(few, *recipe.networks, labelled=(), trained=recipe.networks)
        peers = peers_of(context, student)
        for peer in peers:
            rehearse(peer.objective, peer.network, [student], loader, context.accelerator)
        heads = [*heads_of(pairs), *((peer.name, peer.network) for peer in peers)]
        objective = context.objective("student", recipe.student, student, heads)
        rehearse(objective, student, [network for _, network in heads], loader, context.accelerator)


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
            phases.append(expected(training, steps=batch_count(len(trials), size, join_single=True), done=done))
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
