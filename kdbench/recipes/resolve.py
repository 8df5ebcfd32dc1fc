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
from typing import Any, NamedTuple

from kdbench.errors import UsageError, shortened, unknown
from kdbench.recipes import shipped
from kdbench.recipes.network_spec import SHORTHAND, NetworkSpec, Train
from kdbench.recipes.schema import PRESETS, Data, Recipe
from kdbench.recipes.track import Track
from kdbench.registry import registry
from kdbench.util import paths, plain_yaml
from kdbench.util.validation import checked, found

_MOST_FILES = 100
PHASES = ("teacher", "student")
LINEAGE = ("summary", "source", "equations", "deviations")
"""What a recipe says of where it comes from, which is no setting of a network."""
SEARCH = "search"
TEACHER = "teacher"
TEACHERS = "teachers"
_NAMED = "name"
_TEACHERS_HINT = "See them: kdbench list teachers"
_SECTIONS = {
    "student": NetworkSpec.model_fields,
    "student.train": Train.model_fields,
    "data": Data.model_fields,
    "track": Track.model_fields,
}
"""What a recipe's keys may be taken for that lie deeper, by where they lie."""


class Layer(NamedTuple):
    """What one file says of a recipe.

    Attributes:
        path: The file.
        settings: What it says, as written.
    """

    path: Path
    settings: Mapping[str, Any]

    @property
    def own(self) -> dict[str, Any]:
        """The settings at every size, without those of what it extends."""
        return {key: value for key, value in self.settings.items() if key not in {"extends", "presets"}}

    def at(self, preset: str) -> Mapping[str, Any]:
        """What it says of a preset besides."""
        presets = self.settings.get("presets") or {}
        if not isinstance(presets, Mapping):
            raise _odd(self.path, "presets", presets, f"a mapping with the keys {', '.join(PRESETS)}")
        for key, changes in presets.items():
            if key not in PRESETS:
                raise unknown(f"preset in the recipe {self.path}", key, PRESETS)
            if not isinstance(changes, Mapping | None):
                raise _odd(self.path, f"presets.{key}", changes, "a mapping of settings")
        return presets.get(preset) or {}


def locate(name_or_path: str, kind: str = "method") -> Path:
    """The file of a recipe.

    Args:
        name_or_path: The name of a recipe, or the path of one's own YAML file.
        kind: `method` or `teacher`.

    Raises:
        UsageError: No such recipe.
    """
    path = shipped.path_of(name_or_path, kind)
    if path is None:
        path = Path(name_or_path)
        if name_or_path.startswith(f"{shipped.TUNED}/") and path.suffix not in {".yaml", ".yml"}:
            raise unknown("tuned recipe", name_or_path, shipped.tuned(), hint="See them: kdbench list methods")
        if kind == TEACHER and (pair := shipped.behind(name_or_path)) is not None:
            raise UsageError(
                f"'{name_or_path}' is no teacher but a former name of {pair.method} with the teacher {pair.teacher}",
                hint=f"Write --teacher {pair.teacher}",
            )
        if path.suffix not in {".yaml", ".yml"} and os.sep not in name_or_path:
            raise registry(kind).unknown(name_or_path, shipped.aliases() if kind == "method" else ())
        if not paths.is_file(path):
            raise UsageError(
                f"there is no recipe file {shortened(str(path), 200)}",
                hint=f"See the shipped ones: kdbench list {kind}s",
            )
    return path


def files(name_or_path: str) -> list[Path]:
    """The files of a method and of everything it extends, root first; see `layers`."""
    return [layer.path for layer in layers(name_or_path)]


def layers(name_or_path: str, kind: str = "method") -> list[Layer]:
    """A recipe behind everything it extends, root first; of several that it extends, the later one wins.

    Raises:
        UsageError: A recipe extends itself, directly or through others, or more than a hundred others; or `extends`
            is not a name or a list of names.
    """
    return list(_visited(name_or_path, kind, (), {}).values())


def _visited(name: str, kind: str, above: tuple[Path, ...], seen: dict[Any, Layer]) -> dict[Any, Layer]:
    if kind == "method" and (pair := shipped.behind(name)):
        _visited(pair.method, kind, above, seen)
        seen[name] = Layer(locate(f"{shipped.ALIASES}"), {"teacher": pair.teacher})
        return seen
    path = locate(name, kind).absolute()
    if path in above:
        way = " → ".join(link.stem for link in (*above, path))
        raise UsageError(f"the recipe '{path.stem}' extends itself: {shortened(way, 300)}")
    if path in seen:
        return seen
    if len(above) + len(seen) >= _MOST_FILES:
        raise UsageError(f"the recipe '{above[0].stem}' extends more than {_MOST_FILES} recipes")
    settings = paths.read_mapping(path, "recipe")
    for parent in _extended(path, settings):
        _visited(_beside(path, parent), kind, (*above, path), seen)
    seen[path] = Layer(path, settings)
    return seen


def _extended(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """What a recipe says that it extends."""
    extends = settings.get("extends") or []
    named = [extends] if isinstance(extends, str) else extends
    if not isinstance(named, list):
        raise _odd(path, "extends", extends, "the name or path of a recipe, or a list of them")
    for number, parent in enumerate(named):
        if not isinstance(parent, str):
            raise _odd(path, f"extends.{number}", parent, "the name or path of a recipe")
    return named


def _odd(path: Path, key: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"the recipe {path}: {key} = {found(value)}: expected {expected}")


def _beside(path: Path, named: str) -> str:
    """What a recipe names: a name as it is, a relative path below the folder of the recipe."""
    is_path = named.endswith((".yaml", ".yml")) or (os.sep in named and named not in shipped.tuned())
    return str(path.parent / named) if is_path else named


def resolve(
    name_or_path: str, preset: str, overrides: Iterable[str] | Mapping[str, Any] = (), *, teacher: str | None = None
) -> Recipe:
    """Resolves a method with its teacher at one preset, with overrides, and checks every key.

    Args:
        name_or_path: Name of a shipped method, former or present, or path of a YAML file.
        preset: `paper`, `small` or `smoke`.
        overrides: Changes, as `changes_of` takes them.
        teacher: Name of a teacher, or path of its YAML file, in place of the method's own; what the method changes of
            its teacher is changed of this one too.

    Raises:
        UsageError: An unknown recipe, preset or key (with the near misses), a value of the wrong type, or a change of a
            network that the recipe does not have.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    changes = changes_of(overrides)
    named, changes = _named_teacher(changes)
    if named is not None and teacher not in (None, named):
        raise UsageError(
            f"--teacher {teacher} and --set teacher={named} name two teachers", hint="Leave out one of them."
        )
    teacher = named or teacher
    pair = shipped.behind(name_or_path)
    method, teacher = (pair.method, teacher or pair.teacher) if pair else (name_or_path, teacher)
    chain = layers(method)
    merged, own = _merged(chain, preset, teacher)
    _refuse_unsettable(changes)
    merged, changes = _with_teachers(merged, changes, preset, None), _without_teachers(changes)
    stem = _method_of(chain[-1])
    if teacher is not None and own is None:
        raise UsageError(
            f"the method '{stem}' has no teacher, so --teacher {teacher} changes nothing", hint="Leave out --teacher."
        )
    stems = [] if TEACHER in changes and changes[TEACHER] is None else [_stem(teacher or own)]
    stems += [network.get(_NAMED) or name for name, network in merged.get(TEACHERS, {}).items()]
    taught_by = "+".join(stem for stem in stems if stem is not None) or None
    title = stem if teacher in (None, own) else f"{stem} + {taught_by}"
    is_shipped = shipped.path_of(method if stem == chain[-1].path.stem else stem) is not None
    merged["name"] = _name(stem, teacher, own, is_shipped=is_shipped)
    for phase in absent_networks(merged, changes):
        raise UsageError(
            f"the recipe '{title}' has no {phase}, so {_first_key(phase, changes[phase])} changes nothing",
            hint=keys_hint(name_or_path),
        )
    merged = _changed(merged, changes)
    if TEACHERS in merged:
        # What they are called is no setting of theirs.
        merged[TEACHERS] = {
            name: {key: value for key, value in network.items() if key != _NAMED}
            for name, network in merged[TEACHERS].items()
        }
    recipe = checked(Recipe, merged, f"recipe '{title}'", hint=keys_hint(name_or_path))
    return recipe.called(stem, taught_by, title)


def _merged(chain: Iterable[Layer], preset: str, teacher: str | None) -> tuple[dict[str, Any], str | None]:
    """The settings of a method with its teacher's, and the name of the teacher that the method itself names."""
    merged: dict[str, Any] = {}
    own = _last_named(chain, preset)
    for layer in chain:
        for changes in (layer.own, layer.at(preset)):
            named, changes = _named_teacher(changes)
            # One that is named later takes its place here, so that what the method changes of its teacher stays.
            if named is not None and merged.get(TEACHER) is None:
                merged[TEACHER] = teacher_at(teacher or own or named, preset)
            merged = _with_teachers(merged, changes, preset, layer.path)
            merged = _changed(merged, _without_teachers(changes))
    return merged, own


def _with_teachers(
    recipe: Mapping[str, Any], changes: Mapping[str, Any], preset: str, path: Path | None
) -> dict[str, Any]:
    """A recipe with what changes say of its `teachers`: `NAME: raw`, `{name: raw, …}`, a network, or null.

    Args:
        recipe: The settings so far.
        changes: The changes; only `teachers` is read of them.
        preset: The size at which a named teacher is taken.
        path: File of the changes, beside which paths are meant; None for those of a command.
    """
    entries = changes.get(TEACHERS)
    if not isinstance(entries, Mapping):
        return {**recipe, TEACHERS: entries} if TEACHERS in changes else dict(recipe)
    teachers: dict[str, Any] = dict(recipe.get(TEACHERS) or {})
    for name, entry in entries.items():
        named, others = _named_teacher({TEACHER: entry})
        own = others.get(TEACHER, {})
        if named is not None:
            place = named if path is None else _beside(path, named)
            if teachers.get(name, {}).get(_NAMED) != _stem(place):
                teachers[name] = {**teacher_at(place, preset), _NAMED: _stem(place)}
        if entry is None:
            teachers.pop(name, None)
        elif isinstance(own, Mapping):
            teachers[name] = _merged_network(teachers.get(name, {}), own)
        else:
            teachers[name] = own
    return {**recipe, TEACHERS: teachers}


def _without_teachers(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if key != TEACHERS}


def _last_named(chain: Iterable[Layer], preset: str) -> str | None:
    """The teacher that a method names last; None where it has none in the end."""
    own: str | None = None
    for layer in chain:
        for changes in (layer.own, layer.at(preset)):
            named, _ = _named_teacher(changes)
            if named is not None:
                own = _beside(layer.path, named)
            elif TEACHER in changes and changes[TEACHER] is None:
                own = None
    return own


def _named_teacher(changes: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The teacher that settings name, and the settings without that name: `teacher: raw`, or `{name: raw, …}`."""
    named = changes.get(TEACHER)
    if isinstance(named, str):
        return named, {key: value for key, value in changes.items() if key != TEACHER}
    if isinstance(named, Mapping) and "name" in named:
        if not isinstance(named["name"], str):
            raise UsageError(f"teacher.name = {found(named['name'])}: expected a name", hint=_TEACHERS_HINT)
        others = {key: value for key, value in named.items() if key != "name"}
        return named["name"], {**changes, TEACHER: others}
    return None, dict(changes)


def _method_of(layer: Layer) -> str:
    """What a recipe is called: as its file, or as the method that it extends where a search tuned it."""
    if "tuning" in layer.settings and (names := _extended(layer.path, layer.settings)):
        return Path(names[-1]).stem
    return layer.path.stem


def teacher_at(name_or_path: str, preset: str) -> dict[str, Any]:
    """The network of a teacher at one preset, as settings.

    Args:
        name_or_path: Name of a teacher, or path of its YAML file.
        preset: As for `resolve`.

    Raises:
        UsageError: No such teacher, or a file that is no mapping.
    """
    merged: dict[str, Any] = {}
    for layer in layers(name_or_path, "teacher"):
        for changes in (layer.own, layer.at(preset)):
            merged = _merged_network(merged, changes)
    return {key: value for key, value in merged.items() if key not in LINEAGE}


def _name(method: str, teacher: str | None, own: str | None, *, is_shipped: bool) -> str:
    """What a method with a teacher is called in the names of folders."""
    known = shipped.former_name(method, teacher or own or "") if is_shipped else None
    return known or (method if teacher in (None, own) else f"{method}+{_stem(teacher)}")


def _stem(teacher: str | None) -> str | None:
    """What a teacher is called: its name, or that of its file."""
    return None if teacher is None else Path(teacher).stem


def _refuse_unsettable(changes: Mapping[str, Any]) -> None:
    """Keys of a network or names of losses where keys of a recipe are expected: tables write settings so; and the name.

    Raises:
        UsageError: There is such a key.
    """
    for key in changes:
        if key == "name":
            raise UsageError(f"--set {key}=… changes nothing", hint="To name a run: --name NAME")
        if key in Recipe.model_fields:
            continue
        near = [f"{place}.{key}" for place, fields in _SECTIONS.items() if key in fields]
        near += [f"student.losses.{key}"] if key in registry("loss").names() else []
        if near:
            whole = " or ".join(near)
            raise UsageError(
                f"unknown key '{key}'; did you mean {whole}?", hint=f"Write the whole key: --set {near[0]}…"
            )


def keys_hint(name_or_path: str) -> str:
    """The command that shows the keys of a recipe; of a file that is wrong itself, those of what it extends.

    Args:
        name_or_path: As for `resolve`.
    """
    above = [
        path.stem for path in files(name_or_path) if shipped.path_of(path.stem) is not None and path.stem[0] != "_"
    ]
    return f"See the keys of a recipe: kdbench describe {shlex.quote(above[-1] if above else 'kd')}"


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge; a part with another `name` replaces the whole part, since parameters belong to their part.

    A schedule in the place of a number ends at that number, unless it says otherwise.
    """
    result = dict(base)
    for key, value in changes.items():
        current = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(current, Mapping)
            and value.get("name", current.get("name")) == current.get("name")
        ):
            result[key] = merge(current, value)
        elif isinstance(value, Mapping) and "schedule" in value and isinstance(current, int | float):
            result[key] = {"to": current, **value}
        else:
            result[key] = value
    return result


def _merged_network(network: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As `merge`; a network that says what it sees in the other way says so anew, since one form replaces the other."""
    if changes.get("branches") is not None:
        network = {key: value for key, value in network.items() if key not in SHORTHAND}
    elif changes.get("modality") is not None:
        network = {key: value for key, value in network.items() if key != "branches"}
    return merge(network, changes)


def _changed(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As `merge`, but for `search`: each range is a whole, and a removed network or loss takes its ranges with it."""
    merged = merge(recipe, changes)
    for phase in PHASES:
        if isinstance(network := recipe.get(phase), Mapping) and isinstance(own := changes.get(phase), Mapping):
            merged[phase] = _merged_network(network, own)
    ranges, own = recipe.get(SEARCH), changes.get(SEARCH)
    if isinstance(ranges, Mapping) and isinstance(own, Mapping | None):
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
    *above, last = key.split(".")
    nested = {last: value}
    for name in reversed(above):
        nested = {name: nested}
    return nested


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
