"""From a recipe's file to the recipe as resolved.

A recipe is a YAML file. `extends:` names one or several others, whose settings it changes; `presets:` holds what
differs between `paper`, `small` and `smoke`. Along the chain each recipe's settings are followed by its preset's, so a
variant overrides what it extends at every size. `resolve` returns the checked result, in which nothing is left open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from kdbench import methods, resources
from kdbench.errors import UsageError, unknown
from kdbench.recipe import NUMBER, PRESETS, SCHEDULE, Recipe
from kdbench.registry import registry


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
        if path.suffix not in {".yaml", ".yml"} and os.sep not in name_or_path:
            raise registry("method").unknown(name_or_path)
        if not path.is_file():
            raise UsageError(f"there is no recipe file {path}", hint="See the shipped ones: kdbench list methods")
    return path


def read(name_or_path: str) -> tuple[str, dict[str, Any]]:
    """Reads one recipe file, without what it extends: its name, and its settings as written.

    Raises:
        UsageError: No such recipe, or the file is not a YAML mapping.
    """
    path = locate(name_or_path)
    return path.stem, resources.read_mapping(path, "recipe")


def files(name_or_path: str, *, _above: tuple[Path, ...] = ()) -> list[Path]:
    """The files of a recipe and of everything it extends, root first.

    Raises:
        UsageError: A recipe extends itself, directly or through others.
    """
    path = locate(name_or_path).absolute()
    if path in _above:
        way = " → ".join(each.stem for each in (*_above, path))
        raise UsageError(f"the recipe '{path.stem}' extends itself: {way}")
    extends = resources.read_mapping(path, "recipe").get("extends") or []
    found: list[Path] = []
    for parent in [extends] if isinstance(extends, str) else extends:
        found += [file for file in files(_beside(path, str(parent)), _above=(*_above, path)) if file not in found]
    return [*found, path]


def _beside(path: Path, parent: str) -> str:
    """What a recipe extends: a name as it is, a relative path below the folder of the recipe."""
    is_path = parent.endswith((".yaml", ".yml")) or os.sep in parent
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
        overrides: `a.b.c=value` strings, or a nested mapping.

    Raises:
        UsageError: An unknown recipe, preset or key (with the near misses), or a value of the wrong type.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    links = chain(name_or_path)
    merged: dict[str, Any] = {}
    for name, settings in links:
        own = {key: value for key, value in settings.items() if key not in {"extends", "presets"}}
        presets = settings.get("presets") or {}
        for key in presets:
            if key not in PRESETS:
                raise unknown(f"preset in recipe '{name}'", key, PRESETS)
        merged = merge(merge(merged, own), presets.get(preset) or {})
    merged = merge(merged, overrides if isinstance(overrides, Mapping) else parse_overrides(overrides))
    merged["name"] = links[-1][0]
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise _readable(error, links[-1][0]) from error


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


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Parses `a.b.c=value` strings; values are YAML scalars or lists.

    Raises:
        UsageError: A string without `=`, or a value that is not YAML.
    """
    result: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip("."):
            raise UsageError(f"cannot read the override '{item}'", hint="Write --set a.b.c=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"the value of --set {item} is not YAML: {error}") from error
        if isinstance(value, str):
            value = _number_or_text(value)
        nested: Any = value
        for name in reversed(key.split(".")):
            nested = {name: nested}
        result = merge(result, nested)
    return result


def _number_or_text(text: str) -> float | str:
    # YAML 1.1 reads 1e-4 as text.
    try:
        return float(text)
    except ValueError:
        return text


def _readable(error: ValidationError, method: str) -> UsageError:
    """Turns pydantic's first complaint into one that names the key, what was expected, and the near misses."""
    # A misspelt key is also a missing one, and the more telling of the two.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if part not in (NUMBER, SCHEDULE)]
    path = ".".join(location) or method
    if first["type"] == "extra_forbidden":
        owner = _model_at(location[:-1])
        known = [field.alias or name for name, field in owner.model_fields.items()] if owner is not None else []
        place = f"key under {'.'.join(location[:-1])}" if location[:-1] else "recipe key"
        return unknown(place, location[-1], known, hint=_SHOW.format(method))
    if first["type"] == "missing":
        return UsageError(f"recipe '{method}': {path} is missing", hint=_SHOW.format(method))
    message = first["msg"].removeprefix("Value error, ")
    return UsageError(f"recipe '{method}': {path} = {first['input']!r}: {message}", hint=_SHOW.format(method))


_SHOW = "See its keys: kdbench describe {}"


def _model_at(location: Iterable[str]) -> type[BaseModel] | None:
    """The model that the keys of a recipe lead to; keys of a mapping lead from it to what its values are."""
    owner: type[BaseModel] | None = Recipe
    for step in location:
        if owner is not None and step in owner.model_fields:
            owner = _model_in(owner.model_fields[step].annotation)
    return owner


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for held in get_args(annotation) if (model := _model_in(held)) is not None), None)
