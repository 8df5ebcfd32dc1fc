"""What a run would refuse, found before anything is prepared, fetched or trained."""

from __future__ import annotations

import dataclasses

from kdbench.engine.device import build_accelerator
from kdbench.network import unfetched
from kdbench.runs.context import RunContext
from kdbench.runs.faculty import heads_of, peers_of, untrained_networks
from kdbench.runs.spec import RunSpec
from kdbench.runs.weights import load_files
from kdbench.util.progress import Reporter


def check_networks(run_spec: RunSpec) -> None:
    """Builds the networks and the losses of a run, on the CPU and without pretrained weights, which would be fetched.

    Raises:
        UsageError: Parts or parameters that do not exist or do not fit together.
    """
    recipe = run_spec.recipe
    networks = {phase: unfetched(spec) for phase in ("teacher", "student") if (spec := getattr(recipe, phase))}
    teachers = {name: unfetched(spec) for name, spec in recipe.teachers.items()}
    recipe = recipe.model_copy(update={**networks, "teachers": teachers})
    context = RunContext(
        dataclasses.replace(run_spec, recipe=recipe), build_accelerator("cpu", recipe.precision), Reporter()
    )
    pairs = untrained_networks(context)
    for part, teacher in {part.name: (part, teacher) for part, teacher in pairs}.values():
        load_files(teacher, part.spec, part.key)
        context.objective("teacher", part.spec, teacher, key=part.key)
    if recipe.student is not None and not recipe.student.is_untrained:
        student = context.build("student", recipe.student)
        load_files(student, recipe.student, "student")
        peers = [(peer.name, peer.network) for peer in peers_of(context, student)]
        context.objective("student", recipe.student, student, [*heads_of(pairs), *peers])
