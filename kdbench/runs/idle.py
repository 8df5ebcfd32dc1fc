"""What a run is asked for that changes nothing in it, which is refused, or does what is seldom meant, which is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdbench.engine.declared import declared, read_class_names, reads_series
from kdbench.engine.device import device_kind
from kdbench.errors import UsageError
from kdbench.recipes.changes import PHASES
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe, key_of
from kdbench.recipes.terms import LossTerm
from kdbench.registry import registry
from kdbench.representations.native import takes_native
from kdbench.runs.request import RunRequest
from kdbench.types import SENSORS, VIDEO, is_video

_SEES_VIDEO = "network that sees video"
_USED_UNTRAINED = {"batch_size"}
"""Settings of a training that count without one: an evaluation takes as many trials at a time."""


def refuse_idle(request: RunRequest) -> None:
    """Refuses options and settings without an effect on this run, and losses that nobody can teach.

    Raises:
        UsageError: There are some; each is named with the reason.
    """
    recipe = request.recipe
    _refuse_untaught(recipe)
    _refuse_trained_along(recipe)
    idle = list(_removed_in_vain(request))
    if recipe.student is not None and recipe.student.pairing is not None and not _is_told_of_others(recipe):
        idle.append(f"student.pairing ({recipe.title} has no teacher, and no loss that reads series)")
    idle += [f"--set {key}=… ({recipe.title} has no {lacks})" for key, lacks in idle_settings(recipe, request.changes)]
    if request.video is not None and not recipe.sees(VIDEO):
        idle.append(f"--video {request.video} ({recipe.title} has no {_SEES_VIDEO})")
    elif request.video is not None and not recipe.chooses_view:
        idle.append(f"--video {request.video} ({recipe.title} names its views: {', '.join(recipe.views)})")
    if request.threads is not None and device_kind(request.device) == "cuda":
        idle.append(f"--threads {request.threads} (the run computes on a GPU)")
    if idle:
        raise UsageError(f"without effect on this run: {'; '.join(idle)}", hint="Leave out what has no effect.")


def _removed_in_vain(request: RunRequest) -> Iterator[str]:
    """Losses that the changes remove and that the method does not have."""
    removed = [
        (phase, name)
        for phase in PHASES
        if isinstance(own := request.changes.get(phase), Mapping) and isinstance(own.get("losses"), Mapping)
        for name, term in own["losses"].items()
        if term is None
    ]
    if removed:
        # Without the changes, since the request's own recipe lacks what they remove.
        shipped = resolve(request.method, request.preset, teacher=request.teacher)
        for phase, name in removed:
            spec = getattr(shipped, phase)
            if spec is None or name not in spec.losses:
                yield f"--set {phase}.losses.{name}=null ({shipped.name} has no loss {name} of the {phase})"


def _is_told_of_others(recipe: Recipe) -> bool:
    """Whether something other than labels teaches the student, which can be that of other trials."""
    return bool(recipe.all_teachers) or any(map(reads_series, recipe.student.losses if recipe.student else ()))


def _refuse_untaught(recipe: Recipe) -> None:
    if recipe.student is None or recipe.all_teachers:
        return
    for name in recipe.student.losses:
        if declared(name)["teacher"]:
            where = f"student.losses.{name}"
            raise UsageError(
                f"{recipe.title} has no teacher, and {where} compares with one",
                hint=f"Do without it, --set {where}=null, or choose a method with a teacher: kdbench list methods",
            )


def _refuse_trained_along(recipe: Recipe) -> None:
    """A loss that needs a frozen teacher, with one that trains with the student; and such a loss of that one itself.

    One that reads a teacher's classifier would train it through the student; one that remembers what a teacher said
    would hold it against another network.
    """
    for peer, spec in recipe.joint_teachers.items():
        for name, term in spec.losses.items():
            if reads := _of_a_frozen_teacher(name, term):
                key = f"{key_of(peer)}.losses.{name}"
                raise UsageError(
                    f"{key} {reads} of a frozen network, and the student trains with '{peer}'",
                    hint=f"Do without the loss: --set {key}=null",
                )
    for name, term in recipe.student.losses.items() if recipe.student is not None else ():
        reads = _of_a_frozen_teacher(name, term)
        for teacher in recipe.joint_teachers if reads else ():
            if term.teachers is None or teacher in term.teachers:
                raise UsageError(
                    f"student.losses.{name} {reads} of a frozen teacher, and '{teacher}' trains with the student",
                    hint="Name a teacher that is trained before, for example --teacher raw, or do without the loss: "
                    f"--set student.losses.{name}=null",
                )


def _of_a_frozen_teacher(name: str, term: LossTerm) -> str:
    """What of a frozen teacher a loss needs; empty for nothing."""
    if not registry("loss").has(name):
        return ""
    if _remembers(name, term):
        return "keeps what earlier steps saw"
    return "reads the classifier" if "teacher_classifiers" in declared(name)["needs"] else ""


def _remembers(name: str, term: LossTerm) -> bool:
    declares = declared(name)["frozen_teacher"]
    return bool(term.params.get(declares[0]) == declares[1] if isinstance(declares, tuple) else declares)


def idle_settings(recipe: Recipe, changes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each changed setting that the recipe never uses, by dotted key, with what the recipe lacks for it.

    Args:
        recipe: The recipe with the changes.
        changes: The changes, nested.
    """
    data = changes.get("data")
    for key in data if isinstance(data, Mapping) else ():
        if key in ("frames", "frame_size") and not recipe.sees(VIDEO):
            yield f"data.{key}", _SEES_VIDEO
        if key == "series_length" and not (recipe.sees(SENSORS) or any(map(reads_series, recipe.losses))):
            yield f"data.{key}", "network that sees sensors"
        elif key == "series_length" and not resamples(recipe):
            yield f"data.{key}", "network that sees resampled series: each takes them at their native lengths"
    if "semantics" in changes and not read_class_names(recipe.losses):
        yield "semantics", "loss that reads the names of the classes"
    for phase, spec in recipe.by_key.items():
        if spec.weights is None:
            continue
        own = _at(changes, phase)
        for section in ("train", "augment"):
            settings = own.get(section) if isinstance(own, Mapping) else None
            for key in settings if isinstance(settings, Mapping) else ():
                if key not in _USED_UNTRAINED:
                    yield f"{phase}.{section}.{key}", f"{phase} that is trained"


def resamples(recipe: Recipe) -> bool:
    """Whether something in a recipe sees series at `data.series_length`."""
    branches = [branch for spec in recipe.networks for branch in spec.kinds if not is_video(branch.sees)]
    return any(map(reads_series, recipe.losses)) or not all(takes_native(one.representation) for one in branches)


def _at(changes: Mapping[str, Any], key: str) -> Any:
    """What changes say of a network, by its key."""
    own: Any = changes
    for part in key.split("."):
        own = own.get(part) if isinstance(own, Mapping) else None
    return own


def negative_weights(recipe: Recipe) -> Iterator[str]:
    """A sentence for each loss of which the training makes more."""
    for phase, spec in recipe.by_key.items():
        for name, term in spec.losses.items():
            weight = term.weight
            values = (weight,) if isinstance(weight, int | float) else (weight.first, weight.to)
            if min(values) < 0:
                yield f"{phase}.losses.{name}.weight is below 0 ({min(values):g}): the training makes this loss larger"
