"""Transfer alone: what is left of a recipe when the student sees no label."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.engine.declared import declared, reads_labels, reads_series
from kdbench.errors import UsageError
from kdbench.recipes.schema import Recipe
from kdbench.recipes.terms import LossTerm
from kdbench.runs.gain import untrained_like


def for_track(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """A recipe as its track lets it train.

    Without labels, the losses of the student that compare with no teacher and read no sensors are left out, and those
    that need labels.

    Args:
        recipe: As resolved.

    Returns:
        The recipe, and a line on each loss that was left out.

    Raises:
        UsageError: No loss is left, or the recipe trains nothing and sees labels.
    """
    student = recipe.student
    if not recipe.track.is_transfer_alone:
        if student is not None and student.is_untrained:
            raise UsageError(
                f"'{recipe.title}' trains nothing, and stands beside methods that see no label alone",
                hint="Name that track: --labels 0",
            )
        return recipe, ()
    if student is None:
        raise UsageError(
            f"track.labels = 0: '{recipe.title}' trains no student, which distillation losses alone could train",
            hint="Choose a method with a student, for example --method kd; or all labels: --labels all",
        )
    if student.is_untrained:
        return recipe, ()
    left = {name: why for name, term in student.losses.items() if (why := why_left_out(name, term))}
    kept = {name: term for name, term in student.losses.items() if name not in left}
    if not kept:
        raise UsageError(
            f"track.labels = 0 leaves '{recipe.title}' no loss: {'; '.join(_line(*loss) for loss in left.items())}",
            hint=f"Choose a method with a distillation loss (--method kd), the network that is not trained "
            f"(--method {untrained_like(student)}), or labels: --labels 1",
        )
    return _with_losses(recipe, kept), tuple(f"left out, since no trial has a label: {_line(*e)}" for e in left.items())


def _with_losses(recipe: Recipe, losses: Mapping[str, LossTerm]) -> Recipe:
    assert recipe.student is not None
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"losses": dict(losses)})})


def why_left_out(name: str, term: LossTerm) -> str | None:
    """Why a loss cannot train a student without labels; None where it can.

    Args:
        name: Registered name of the loss.
        term: What the recipe says of it.
    """
    if not (declared(name)["teacher"] or reads_series(name)):
        return "compares with no teacher"
    if term.mix is not None and _mixes_by_labels(term.mix.name):
        return f"weighs its teachers by labels (mix: {term.mix.name}; mean and weights read none)"
    return "needs labels" if reads_labels(name) == "needed" else None


def _mixes_by_labels(name: str) -> bool:
    # Few recipes mix their teachers, and no board has to wait for torch.
    from kdbench.engine.mixing import MIXES

    return name in MIXES and MIXES[name].by_labels


def _line(name: str, why: str) -> str:
    return f"the loss '{name}' {why}"
