"""From a recipe's file to the recipe as resolved.

A recipe is a YAML file. `extends:` names one or several others, whose settings it changes; `presets:` holds what
differs between `paper`, `small` and `smoke`. Along the chain each recipe's settings are followed by its preset's, so a
variant overrides what it extends at every size. `resolve` returns the checked result, in which nothing is left open.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError, shortened, unknown
from kdbench.recipes import shipped as methods
from kdbench.recipes.schema import PRESETS, Data, NetworkSpec, Recipe, Train
from kdbench.recipes.track import Track
from kdbench.registry import registry
from kdbench.util import paths as resources
from kdbench.util import plain_yaml
from kdbench.util.validation import checked, found

_MOST_FILES = 100
PHASES = ("teacher", "student")
SEARCH = "search"
_SECTIONS = {
    "student": NetworkSpec.model_fields,
    "student.train": Train.model_fields,
    "data": Data.model_fields,
    "track": Track.model_fields,
}
"""What a recipe's keys may be taken for that lie deeper, by where they lie."""


def locate(name_or_path: str) -> Path:
    """The file of a recipe.

    Args:
        name_or_path: The name of a recipe, or the path of one's own YAML file.

    Raises:
        UsageError: No such recipe.
    """
    path = methods.path_of(name_or_path)
    if path is None:
        path = Path(name_or_path)
        if name_or_path.startswith(f"{methods.TUNED}/") and path.suffix not in {".yaml", ".yml"}:
            raise unknown("tuned recipe", name_or_path, methods.tuned(), hint="See them: kdbench list methods")
        if path.suffix not in {".yaml", ".yml"} and os.sep not in name_or_path:
            raise registry("method").unknown(name_or_path)
        if not resources.is_file(path):
            raise UsageError(
                f"there is no recipe file {shortened(str(path), 200)}",
                hint="See the shipped ones: kdbench list methods",
            )
    return path


def read(name_or_path: str) -> tuple[str, dict[str, Any]]:
    """Reads one recipe file, without what it extends: its name, and its settings as written.

    Raises:
        UsageError: No such recipe, or the file is not a YAML mapping.
    """
    path = locate(name_or_path)
    return path.stem, resources.read_mapping(path, "recipe")


def files(name_or_path: str) -> list[Path]:
    """The files of a recipe and of everything it extends, root first.

    Raises:
        UsageError: A recipe extends itself, directly or through others, or more than a hundred others; or `extends`
            is not a name or a list of names.
    """
    return list(_visited(name_or_path, (), {}))


def _visited(name_or_path: str, above: tuple[Path, ...], seen: dict[Path, None]) -> dict[Path, None]:
    path = locate(name_or_path).absolute()
    if path in above:
        way = " → ".join(each.stem for each in (*above, path))
        raise UsageError(f"the recipe '{path.stem}' extends itself: {shortened(way, 300)}")
    if path in seen:
        return seen
    if len(above) + len(seen) >= _MOST_FILES:
        raise UsageError(f"the recipe '{above[0].stem}' extends more than {_MOST_FILES} recipes")
    for parent in _extended(path):
        _visited(_beside(path, parent), (*above, path), seen)
    seen[path] = None
    return seen


def _extended(path: Path) -> list[str]:
    """What a recipe says that it extends."""
    extends = resources.read_mapping(path, "recipe").get("extends") or []
    named = [extends] if isinstance(extends, str) else extends
    if not isinstance(named, list):
        raise _odd(path, "extends", extends, "the name or path of a recipe, or a list of them")
    for number, each in enumerate(named):
        if not isinstance(each, str):
            raise _odd(path, f"extends.{number}", each, "the name or path of a recipe")
    return named


def _odd(path: Path, key: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"the recipe {path}: {key} = {found(value)}: expected {expected}")


def _beside(path: Path, parent: str) -> str:
    """What a recipe extends: a name as it is, a relative path below the folder of the recipe."""
    is_path = parent.endswith((".yaml", ".yml")) or (os.sep in parent and parent not in methods.tuned())
    return str(path.parent / parent) if is_path else parent


def chain(name_or_path: str) -> list[tuple[str, dict[str, Any]]]:
    """The recipe behind everything it extends, root first; of several that it extends, the later one wins.

    Raises:
        UsageError: A recipe extends itself, directly or through others.
    """
    return [read(str(path)) for path in files(name_or_path)]


def resolve(name_or_path: str, preset: str, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """Resolves a recipe at one preset, with overrides, and checks every key.

    Args:
        name_or_path: Name of a shipped recipe or path of a YAML file.
        preset: `paper`, `small` or `smoke`.
        overrides: Changes, as `changes_of` takes them.

    Raises:
        UsageError: An unknown recipe, preset or key (with the near misses), a value of the wrong type, or a change of a
            network that the recipe does not have.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    paths = files(name_or_path)
    merged: dict[str, Any] = {}
    for path in paths:
        settings = resources.read_mapping(path, "recipe")
        own = {key: value for key, value in settings.items() if key not in {"extends", "presets"}}
        merged = _changed(_changed(merged, own), _presets(path, settings).get(preset) or {})
    changes = changes_of(overrides)
    merged["name"] = paths[-1].stem
    for phase in absent_networks(merged, changes):
        raise UsageError(
            f"the recipe '{merged['name']}' has no {phase}, so {_first_key(phase, changes[phase])} changes nothing",
            hint=keys_hint(name_or_path),
        )
    _refuse_short(changes)
    merged = _changed(merged, changes | {"name": merged["name"]})
    return checked(Recipe, merged, f"recipe '{merged['name']}'", hint=keys_hint(name_or_path))


def _refuse_short(changes: Mapping[str, Any]) -> None:
    """Keys of a network or names of losses where keys of a recipe are expected: tables write settings so."""
    for key in changes:
        if key in Recipe.model_fields:
            continue
        near = [f"{place}.{key}" for place, fields in _SECTIONS.items() if key in fields]
        near += [f"student.losses.{key}"] if key in registry("loss").names() else []
        if near:
            whole = " or ".join(near)
            raise UsageError(
                f"unknown key '{key}'; did you mean {whole}?", hint=f"Write the whole key: --set {near[0]}…"
            )


def _presets(path: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a recipe says of the presets."""
    presets = settings.get("presets") or {}
    if not isinstance(presets, Mapping):
        raise _odd(path, "presets", presets, f"a mapping with the keys {', '.join(PRESETS)}")
    for key, changes in presets.items():
        if key not in PRESETS:
            raise unknown(f"preset in the recipe {path}", key, PRESETS)
        if not isinstance(changes, Mapping | None):
            raise _odd(path, f"presets.{key}", changes, "a mapping of settings")
    return presets


def keys_hint(name_or_path: str) -> str:
    """The command that shows the keys of a recipe; of a file that is wrong itself, those of what it extends.

    Args:
        name_or_path: As for `resolve`.
    """
    above = [
        path.stem for path in files(name_or_path) if methods.path_of(path.stem) is not None and path.stem[0] != "_"
    ]
    return f"See the keys of a recipe: kdbench describe {shlex.quote(above[-1] if above else 'hinton')}"


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a part with another `name` replaces the whole part, since parameters belong to their part.

    A schedule in the place of a number ends at that number, unless it says otherwise.
    """
    result = dict(base)
    for key, value in changes.items():
        held = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(held, Mapping)
            and value.get("name", held.get("name")) == held.get("name")
        ):
            result[key] = merge(held, value)
        elif isinstance(value, Mapping) and "schedule" in value and isinstance(held, int | float):
            result[key] = {"to": held, **value}
        else:
            result[key] = value
    return result


def _changed(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As `merge`, but for `search`: each range is a whole, and a removed network or loss takes its ranges with it."""
    merged = merge(recipe, changes)
    held, own = recipe.get(SEARCH), changes.get(SEARCH)
    if isinstance(held, Mapping) and isinstance(own, Mapping | None):
        removed = tuple(f"{path}." for path in _removed(changes))
        kept = {key: values for key, values in held.items() if not str(key).startswith(removed)}
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
        # With this it would be a whole network, which the recipe gets.
        and "modality" not in changes[phase]
    ]


def _first_key(key: str, value: Any) -> str:
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
        result = merge(result, _nested(key, value))
    return result


def _nested(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


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
            raise UsageError(f"--set {shortened(key)} names more than {plain_yaml.DEEPEST} keys within one another")
        result = merge(result, _nested(key, plain_yaml.parse(text, f"the value of --set {shortened(key)}")))
    return result


def assignments(changes: Mapping[str, Any]) -> list[str]:
    """Nested changes of a recipe as `--set` takes them, one a top-level key; read back, they are the same."""

    def flow(value: Any) -> str:
        # In a list, since a plain scalar of its own would be ended by a marker.
        text = plain_yaml.dump([value], default_flow_style=True, width=float("inf"))
        return text.strip()[1:-1]

    return [f"{key}={flow(value)}" for key, value in changes.items()]
