"""What a suite and its command change of each method's recipe: only what the recipe has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.errors import UsageError
from kdbench.grid.suite import Suite, SuiteMethod
from kdbench.recipes.changes import absent_networks, changes_of, merge
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe
from kdbench.runs.idle import idle_settings
from kdbench.util.progress import Reporter


def changes_for(
    methods: Sequence[SuiteMethod], suite: Suite, overrides: Sequence[str], preset: str, reporter: Reporter
) -> list[dict[str, Any]]:
    """The changes of each method's recipe: the suite's, then the method's own, then those of the command.

    Of several methods, a change goes to those that have what it is about: the teacher, the student, or the loss. Where
    it does not is said. A method's own changes, and those of a single method, are taken as they are.

    Args:
        methods: The methods, in order.
        suite: Where they stand.
        overrides: `a.b.c=value` strings of the command.
        preset: The size.
        reporter: Is told what is not changed.

    Raises:
        UsageError: A change that no method takes, or one that cannot be read.
    """
    own = [merge(changes_of(suite.set), changes_of(method.set)) for method in methods]
    if len(methods) == 1:
        return [merge(own[0], changes_of(overrides))]
    recipes = [resolve(chosen.name, preset, changes_of(chosen.set), teacher=chosen.teacher) for chosen in methods]
    everywhere = [(key, changes_of({key: value})) for key, value in changes_of(suite.set).items()]
    given = [(text.partition("=")[0], changes_of([text])) for text in overrides]
    by_method: list[dict[str, Any]] = [{} for _ in methods]
    for key, change in everywhere:
        _spread(f"set: {key}", change, methods, recipes, by_method, reporter, lacks=_lacking)
    by_method = [merge(changes, changes_of(method.set)) for changes, method in zip(by_method, methods, strict=True)]
    for key, change in given:
        _spread(
            f"--set {key}", change, methods, recipes, by_method, reporter, lacks=lambda *of, key=key: _part(key, *of)
        )
    return by_method


def _spread(
    what: str,
    change: Mapping[str, Any],
    methods: Sequence[SuiteMethod],
    recipes: Sequence[Recipe],
    by_method: list[dict[str, Any]],
    reporter: Reporter,
    *,
    lacks: Any,
) -> None:
    """Gives a change to every method that has what it is about, and says which have not."""
    without: dict[str, list[str]] = {}
    for place, recipe in enumerate(recipes):
        if (lacking := lacks(recipe, change)) is None:
            by_method[place] = merge(by_method[place], change)
        else:
            without.setdefault(lacking, []).append(methods[place].title)
    if sum(map(len, without.values())) == len(methods):
        raise UsageError(
            f"{what} changes none of these methods: {'; '.join(_said(*reason) for reason in without.items())}",
            hint=_ADD if any(lacking.startswith("loss ") for lacking in without) else _OTHERS,
        )
    for lacking, names in without.items():
        reporter.message(f"{what} is not applied where there is no {lacking}: {', '.join(dict.fromkeys(names))}")


_OTHERS = "Leave it out, or name methods that have it: kdbench list methods"
_ADD = "To give every method another loss, write it whole: --set 'student.losses.NAME={weight: 1}'"


def _said(lacking: str, names: Sequence[str]) -> str:
    return f"no {lacking} in {', '.join(dict.fromkeys(names))}"


def _lacking(recipe: Recipe, change: Mapping[str, Any]) -> str | None:
    """The network that a change is about and the recipe lacks, or what else it lacks to have any use for the change."""
    absent = absent_networks({"teacher": recipe.teacher, "student": recipe.student}, change)
    return next(iter(absent), None) or next((lacks for _, lacks in idle_settings(recipe, change)), None)


def _part(key: str, recipe: Recipe, change: Mapping[str, Any]) -> str | None:
    """The network, or the loss of it, that a change is about and the recipe lacks."""
    if (network := _lacking(recipe, change)) is not None:
        return network
    phase, *rest = key.split(".")
    spec = {"teacher": recipe.teacher, "student": recipe.student}.get(phase)
    if spec is None or rest[:1] != ["losses"] or len(rest) < 2 or rest[1] in spec.losses:
        return None
    # `student.losses.rkd={…}` gives it one; `student.losses.rkd.weight=…` and `=null` are about the one that it has.
    if len(rest) > 2 or change[phase]["losses"][rest[1]] is None:
        return f"loss {rest[1]} of the {phase}"
    return None
