"""What a run predicts at test: its student, the teacher of a run without one, or the mean of both."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kdbench.evaluation.predict import Predictions, mean_of, predict
from kdbench.network import Network
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.runs.context import RunContext
from kdbench.runs.faculty import Ensemble, of_parts
from kdbench.runs.student import Student


def predictions_of(
    context: RunContext,
    teachers: Sequence[Ensemble],
    student: Student | None,
    *,
    without: Collection[str] | None = None,
    batch_size: int | None = None,
) -> Predictions:
    """Predicts the reported part, after all training; nothing of it selects anything.

    Where the mean of student and teacher predicts, one of them that lacks all of its sources is not asked.

    Args:
        context: The run.
        teachers: The teachers.
        student: The student, or None where the teacher is reported.
        without: Sources that are missing; by default those of the recipe.
        batch_size: Trials in a batch; by default the reported network's.
    """
    recipe, dataset = context.run_spec.recipe, context.run_spec.dataset
    missing = recipe.without if without is None else without
    lacking = frozenset(dataset.source(name) for name in missing)
    size = batch_size or recipe.reported.train.batch_size

    def sees_something(spec: NetworkSpec) -> bool:
        return not lacking.issuperset(context.run_spec.sees(spec))

    asked: list[Predictions] = []
    if student is not None and (recipe.predicts is None or sees_something(recipe.reported)):
        loader = context.loader(context.reported_trials(), recipe.reported)
        own = predict(student.network, loader, batch_size=size, accelerator=context.accelerator, without=lacking)
        asked.append(own)
    if student is None or recipe.predicts is not None:
        (teacher,) = teachers
        if not asked or sees_something(teacher.members[0].spec):
            asked.append(teacher.predictions(size, lacking))
    return mean_of(asked)


def asked_networks(context: RunContext, teachers: Sequence[Ensemble], student: Student | None) -> list[Network]:
    """The networks that predict at test; of an ensemble its first one, which stands for the others.

    The first is the one that is reported.
    """
    taught = student is not None and context.run_spec.recipe.predicts is None
    own = [] if student is None else [student.network]
    return own if taught else [*own, of_parts(teachers)[0].network]
