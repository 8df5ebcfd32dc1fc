"""What a run would refuse, found before anything is prepared, fetched or trained."""

from __future__ import annotations

import dataclasses

from kdbench.engine.device import build_accelerator
from kdbench.network import unfetched
from kdbench.runs.context import RunContext
from kdbench.runs.spec import RunSpec
from kdbench.util.progress import Reporter


def check_networks(run_spec: RunSpec) -> None:
    """Builds the networks and the losses of a run, on the CPU and without pretrained weights, which would be fetched.

    Raises:
        UsageError: Parts or parameters that do not exist or do not fit together.
    """
    recipe = run_spec.recipe.model_copy(
        update={phase: unfetched(spec) for phase in ("teacher", "student") if (spec := getattr(run_spec.recipe, phase))}
    )
    context = RunContext(
        dataclasses.replace(run_spec, recipe=recipe), build_accelerator("cpu", recipe.precision), Reporter()
    )
    teacher = context.build("teacher", recipe.teacher) if recipe.teacher else None
    if recipe.teacher is not None and teacher is not None:
        context.objective("teacher", recipe.teacher, teacher, None)
    if recipe.student is not None:
        context.objective("student", recipe.student, context.build("student", recipe.student), teacher)
