"""Changes of a recipe: how they are written, and what becomes of settings that they are laid over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kdbench.errors import UsageError, shortened
from kdbench.recipes.network_spec import SHORTHAND
from kdbench.util import plain_yaml

PHASES = ("teacher", "student")
SEARCH = "search"


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as the nested mapping that overrides a recipe."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        level = result
        for step in path:
            level = level.setdefault(step, {})
        level[last] = value
    return result


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a part with another `name` replaces the whole part, since parameters belong to their part.

    What names no part yet, such as a change that came before the name's, is kept.

    A schedule in the place of a number ends at that number, unless it says otherwise.
    """
    result = dict(base)
    for key, value in changes.items():
        current = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(current, Mapping)
            and ("name" not in current or value.get("name", current["name"]) == current["name"])
        ):
            result[key] = merge(current, value)
        # A schedule laid over a number leads to that number, unless it says otherwise.
        elif isinstance(value, Mapping) and "schedule" in value and isinstance(current, int | float):
            result[key] = {"to": current, **value}
        else:
            result[key] = value
    return result


def merged_network(network: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As `merge`; a network that says what it sees in the other way says so anew, since one form replaces the other."""
    if changes.get("branches") is not None:
        network = {key: value for key, value in network.items() if key not in SHORTHAND}
    elif changes.get("modality") is not None:
        network = {key: value for key, value in network.items() if key != "branches"}
    return merge(network, changes)


def changed(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As `merge`, but for `search`: each range is a whole, and a removed network or loss takes its ranges with it."""
    merged = merge(recipe, changes)
    for phase in PHASES:
        if isinstance(network := recipe.get(phase), Mapping) and isinstance(own := changes.get(phase), Mapping):
            merged[phase] = merged_network(network, own)
    ranges, own = recipe.get(SEARCH), changes.get(SEARCH)
    if isinstance(ranges, Mapping) and isinstance(own, Mapping | None):
        # With the dot, so that `losses.st` does not take `losses.st_mix` along.
        removed = tuple(f"{path}." for path in _removed(changes))
        kept = {key: values for key, values in ranges.items() if not str(key).startswith(removed)}
        merged[SEARCH] = {**kept, **(own or {})}
    return merged


def _removed(changes: Mapping[str, Any]) -> Iterator[str]:
    """The networks and the losses that changes set to null, by dotted key."""
    for phase in PHASES:
        spec = changes.get(phase, {})
        if spec is None:
            yield phase
        losses = spec.get("losses") if isinstance(spec, Mapping) else None
        if isinstance(losses, Mapping):
            yield from (f"{phase}.losses.{name}" for name, term in losses.items() if term is None)


def absent_networks(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """The networks (`teacher`, `student`) that changes are about and that a recipe, as settings, does not have."""
    return [
        phase
        for phase in PHASES
        if recipe.get(phase) is None
        and isinstance(changes.get(phase), Mapping)
        # With one of these it would be a whole network, which the recipe gets.
        and not {"modality", "branches"} & {*changes[phase]}
    ]


def first_key(key: str, value: Any) -> str:
    """The whole dotted key of the first setting that a change names."""
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        key = f"{key}.{name}"
    return key


def changes_of(overrides: str | Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Changes of a recipe as a nested mapping.

    Args:
        overrides: `a.b.c=value` strings; or a mapping, nested, or with dotted keys: `{"a.b": {"c": value}}`.

    Raises:
        UsageError: A string or a key that cannot be read.
    """
    if isinstance(overrides, str):
        return parse_overrides([overrides])
    if not isinstance(overrides, Mapping):
        return parse_overrides(overrides)
    result: dict[str, Any] = {}
    for key, value in overrides.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise UsageError(
                f"cannot read the key {shortened(repr(key))} of the overrides", hint='Write {"a.b.c": value}'
            )
        result = merge(result, nested({key: value}))
    return result


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Parses `a.b.c=value` strings; values are YAML scalars or lists.

    Raises:
        UsageError: A string without `=`, or a value that is not YAML.
    """
    result: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"cannot read the override '{shortened(item)}'", hint="Write --set a.b.c=value")
        if key.count(".") >= plain_yaml.DEEPEST:
            raise UsageError(
                f"--set {shortened(key)} names more than {plain_yaml.DEEPEST} keys within one another",
                hint="See the keys of a recipe: kdbench describe METHOD",
            )
        result = merge(result, nested({key: plain_yaml.parse(text, f"the value of --set {shortened(key)}")}))
    return result


def assignments(changes: Mapping[str, Any]) -> list[str]:
    """Nested changes of a recipe as `--set` takes them, one a top-level key; read back, they are the same."""

    def flow(value: Any) -> str:
        # In a list, since a plain scalar of its own would be ended by a marker.
        text = plain_yaml.dump([value], default_flow_style=True, width=float("inf"))
        return text.strip()[1:-1]

    return [f"{key}={flow(value)}" for key, value in changes.items()]
