"""A recipe as resolved: checked, with nothing left open; and a method's student alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kdbench.errors import UsageError, unknown
from kdbench.recipes.assembly import TEACHERS, assembled
from kdbench.recipes.changes import changes_of, first_key
from kdbench.recipes.layers import TEACHER
from kdbench.recipes.network_spec import RANDOM
from kdbench.recipes.schema import PRESETS, Recipe

NO_TEACHER = "none"
"""In place of a teacher: the method's student alone."""
PLAIN = {"ce": {"weight": 1.0}}
"""The losses of a student alone."""
STUDENTS_ALONE = ("student_only", "student_only_sensor", "student_only_skeleton", "tsn", "trn")
"""The shipped methods that are a student alone."""
_OF_A_TEACHER = ("head", "balance", "pairing")
"""What a student alone has no use for."""


def resolve(
    name_or_path: str, preset: str, overrides: Iterable[str] | Mapping[str, Any] = (), *, teacher: str | None = None
) -> Recipe:
    """Resolves a method with its teacher at one preset, with overrides, and checks every key.

    Args:
        name_or_path: Name of a shipped method, former or present, or path of a YAML file.
        preset: `paper`, `small` or `smoke`.
        overrides: Changes, as `changes_of` takes them.
        teacher: Name of a teacher, or path of its YAML file, in place of the method's own; what the method changes of
            its teacher is changed of this one too. `none`: the method's student alone, by plain cross-entropy; where it
            has no label, as it was initialised.

    Raises:
        UsageError: An unknown recipe, preset or key (with the near misses), a value of the wrong type, or a change of a
            network that the recipe does not have.
    """
    if preset not in PRESETS:
        raise unknown(
            "preset", preset, PRESETS, hint="Presets are sizes: --preset small fits a computer without a GPU."
        )
    changes = changes_of(overrides)
    if teacher == NO_TEACHER:
        return _student_alone(name_or_path, preset, changes)
    return assembled(name_or_path, preset, changes, teacher)


def student_alone_of(
    name_or_path: str, preset: str, changes: Mapping[str, Any] | None = None
) -> tuple[str, str | None] | None:
    """The method, and `none` for its teacher where it has one, that trains a method's student alone.

    Args:
        name_or_path: As for `resolve`.
        preset: As for `resolve`.
        changes: Changes of the recipe, nested.

    Returns:
        None where the method has no student, or is that of a student alone.

    Raises:
        UsageError: As `resolve`.
    """
    changes = changes or {}
    method, alone = _alone(name_or_path, preset, changes)
    if alone is None:
        return None
    shipped_one = _shipped_alone(method, alone, preset, changes)
    return (method.method, NO_TEACHER) if shipped_one is None else (shipped_one, None)


def _student_alone(name_or_path: str, preset: str, changes: Mapping[str, Any]) -> Recipe:
    """A method's student without what teaches it: what the method's gain is over, whatever its student is.

    Raises:
        UsageError: The method has no student, is one without a teacher, or shipped methods have its student alone.
    """
    if about := next((key for key in (TEACHER, TEACHERS) if key in changes), None):
        raise UsageError(f"--teacher none leaves no teacher that {about} would change", hint="Leave out one of them.")
    if isinstance(own := changes.get("student"), Mapping) and "losses" in own:
        idle = first_key("student.losses", own["losses"])
        raise UsageError(
            f"--teacher none leaves plain cross-entropy, so {idle} changes nothing",
            hint="Leave out one of them.",
        )
    method, alone = _alone(name_or_path, preset, changes)
    if alone is None and method.student is None:
        raise UsageError(
            f"the method '{method.method}' has no student, so --teacher none leaves nothing",
            hint="Leave --teacher out, or name a method with a student: kdbench list methods",
        )
    if alone is None:
        raise UsageError(
            f"the method '{method.method}' is a student without a teacher, so --teacher none changes nothing",
            hint="Leave out --teacher.",
        )
    if name := _shipped_alone(method, alone, preset, changes):
        raise UsageError(
            f"the student of '{method.method}' alone is the method {name}", hint=f"Run it: --method {name}"
        )
    return alone.called(method.method, NO_TEACHER, f"{method.method} + {NO_TEACHER}")


def _alone(name_or_path: str, preset: str, changes: Mapping[str, Any]) -> tuple[Recipe, Recipe | None]:
    """A method, and its student alone as a recipe; None where it has no student, or is that of a student alone."""
    method = resolve(name_or_path, preset, _without_losses(changes))
    if method.student is None or (not method.all_teachers and method.student.is_untrained):
        return method, None
    student = {key: value for key, value in method.student.model_dump().items() if key not in _OF_A_TEACHER}
    untrained = {"losses": {}, "weights": RANDOM} if method.track.is_transfer_alone else {"losses": PLAIN}
    named = {
        "name": f"{method.method}+{NO_TEACHER}",
        "summary": f"The student of {method.method} alone",
        "source": "",
    }
    fields = method.model_dump(exclude={TEACHER, TEACHERS, "predicts"})
    alone = Recipe.model_validate({**fields, **named, "student": {**student, **untrained}})
    if not method.all_teachers and alone.student == method.student:
        return method, None
    return method, alone


def _without_losses(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes without those of the student's losses, which go."""
    if not isinstance(own := changes.get("student"), Mapping):
        return dict(changes)
    return {**changes, "student": {key: value for key, value in own.items() if key != "losses"}}


def _shipped_alone(method: Recipe, alone: Recipe, preset: str, changes: Mapping[str, Any]) -> str | None:
    """The shipped method that is a method's student alone; None where there is none."""
    names = () if method.track.is_transfer_alone else STUDENTS_ALONE
    return next((name for name in names if _is_student_of(name, preset, _without_losses(changes), alone)), None)


def _is_student_of(name: str, preset: str, changes: Mapping[str, Any], alone: Recipe) -> bool:
    try:
        other = resolve(name, preset, changes)
    except UsageError:
        # The changes are of what it does not have.
        return False
    return other.student == alone.student and other.data == alone.data
