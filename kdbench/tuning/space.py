"""What a search tries: the space that the user gives, or else the one that the recipe declares."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdbench.errors import UsageError, shortened, unknown
from kdbench.recipes import shipped
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import Recipe
from kdbench.recipes.search_space import Range
from kdbench.registry import registry
from kdbench.util import plain_yaml
from kdbench.util.validation import checked

END = ".to"
"""Of a weight that changes while a network is trained, where it ends is searched."""
_SYNTAX = "Write --space KEY=LOW..HIGH, --space KEY=LOW..HIGH:log, or --space KEY=A,B,C"
_ROLES = ("student", "teacher")

Space = dict[str, Range]


def space_of(recipe: Recipe, given: Sequence[str] = ()) -> Space:
    """The space of a search: what is given, else what the recipe declares, in numbers.

    Args:
        recipe: The method as resolved.
        given: `KEY=LOW..HIGH[:log]` or `KEY=A,B,C`.

    Raises:
        UsageError: An unknown key, a range of a setting that is not a number, an empty range, or nothing to search.
    """
    chosen = parse(given) or recipe.search
    if not chosen:
        raise UsageError(
            f"the recipe '{recipe.title}' does not say what is searched",
            hint="Declare it, search: {student.losses.NAME.weight: {around: 30}, student.train.lr: {around: 10}}, "
            "or give it: --space student.train.lr=1e-4..1e-2:log",
        )
    return dict(sorted(_settled(recipe, key, values) for key, values in chosen.items()))


def own_values(recipe: Recipe, space: Mapping[str, Range]) -> dict[str, Any]:
    """What the recipe itself has at every key of a space that holds it."""
    own = {key: value_at(recipe, key) for key in space}
    return {key: value for key, value in own.items() if space[key].holds(value)}


def parse(given: Sequence[str]) -> Space:
    """Reads `KEY=LOW..HIGH[:log]` and `KEY=A,B,C`.

    Raises:
        UsageError: It is neither, or the range is empty.
    """
    space: Space = {}
    for item in given:
        key, equals, text = item.partition("=")
        if not equals or not key or not text:
            raise UsageError(f"cannot read the search space '{item}'", hint=_SYNTAX)
        place = f"--space {shortened(item)}"
        space[key] = checked(Range, _values(text, place), place, hint=_SYNTAX)
    return space


def _values(text: str, place: str) -> dict[str, Any]:
    low, dots, rest = text.partition("..")
    if not dots:
        return {"choices": [plain_yaml.parse(word, place) for word in text.split(",")]}
    high, colon, kind = rest.partition(":")
    if colon and kind != "log":
        raise UsageError(f"{place}: '{shortened(kind)}' after the colon, expected log", hint=_SYNTAX)
    try:
        return {"low": float(low), "high": float(high), "log": bool(colon)}
    except ValueError:
        raise UsageError(f"{place}: expected numbers around ..", hint=_SYNTAX) from None


def unsearched(recipe: Recipe, space: Mapping[str, Range]) -> list[str]:
    """Weights of the student's losses, but of `ce` and of an only one, that a space leaves as they are, by key."""
    losses = recipe.student.losses if recipe.student is not None else {}
    if len(losses) == 1:
        # It would scale the gradient, which the learning rate does.
        return []
    keys = [f"student.losses.{name}.weight" for name in losses if name != "ce"]
    return [key for key in keys if key not in space and f"{key}{END}" not in space]


def value_at(recipe: Recipe, key: str) -> Any:
    """The value that a recipe has at a dotted key, or that a loss has by default; None where there is none."""
    return searchable(recipe).get(key)


def is_integer(recipe: Recipe, key: str, values: Range) -> bool:
    """Whether a range is one of whole numbers: the setting is one, and so are its ends."""
    value = value_at(recipe, key)
    ends = (values.low, values.high, values.step or 1.0)
    return isinstance(value, int) and all(end is not None and float(end).is_integer() for end in ends)


def points(space: Mapping[str, Range]) -> int | None:
    """Number of points of a space, or None where there is no end to them."""
    total = 1
    for values in space.values():
        if values.count is None:
            return None
        total *= values.count
    return total


def suggest(trial: Any, space: Mapping[str, Range], integers: Sequence[str]) -> dict[str, Any]:
    """Asks an Optuna trial for a value of each key."""
    drawn: dict[str, Any] = {}
    for key, values in space.items():
        if values.choices is not None:
            drawn[key] = trial.suggest_categorical(key, list(values.choices))
        elif key in integers:
            step = int(values.step or 1)
            drawn[key] = trial.suggest_int(key, int(values.low or 0), int(values.high or 0), step=step, log=values.log)
        else:
            drawn[key] = trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)
    return drawn


def _settled(recipe: Recipe, key: str, values: Range) -> tuple[str, Range]:
    """A key of the space that the recipe has, and its range in numbers."""
    known = searchable(recipe)
    if key not in known and f"{key}{END}" in known:
        key += END
    if key not in known:
        shown = recipe.method if shipped.path_of(recipe.method) else "METHOD.yaml"
        hint = f"See the keys: kdbench describe {shown}. A recipe drops one that it inherits by KEY: null."
        raise unknown("key of the search space", key, known, hint=hint)
    if key.endswith(".train.epochs"):
        raise UsageError(
            f"{key} cannot be searched: every trial gets the same budget, and the epochs are part of it",
            hint=f"Fix it for all trials: --set {key}=…",
        )
    own = known[key]
    if values.choices is not None:
        return key, values
    if isinstance(own, bool) or not isinstance(own, int | float):
        raise UsageError(
            f"{key} = {own!r} is not a number, so it has no range {values.describe()}",
            hint=f"Name its values instead: --space {key}=A,B,C",
        )
    if values.around is not None and own <= 0:
        raise UsageError(
            f"{key} = {own:g} is not above zero, so there is no range around it",
            hint=f"Give its ends: {{low: …, high: …}}, or --space {key}=LOW..HIGH",
        )
    return key, values.about(own)


def searchable(recipe: Recipe) -> dict[str, Any]:
    """Everything that can be searched, by dotted key: the settings of the networks that are single values."""
    settings: dict[str, Any] = {}
    for role in _ROLES:
        spec: NetworkSpec | None = getattr(recipe, role)
        if spec is None:
            continue
        for name in spec.losses:
            settings.update({f"{role}.losses.{name}.{key}": value for key, value in _defaults(name)})
        # What the recipe writes takes the place of a default.
        settings.update(_leaves(spec.model_dump(), role))
    return settings


def _defaults(loss: str) -> Iterator[tuple[str, Any]]:
    """Parameters of a loss that have a plain default."""
    for name, parameter in inspect.signature(registry("loss").get(loss)).parameters.items():
        if isinstance(parameter.default, bool | int | float | str):
            yield name, parameter.default


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif not isinstance(value, list | tuple):
        yield path, value
