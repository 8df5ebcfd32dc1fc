"""From a recipe's files and the changes of a command to the recipe, with its teacher.

A recipe is a YAML file. `extends:` names one or several others, whose settings it changes; `presets:` holds what
differs between `paper`, `small` and `smoke`. Along the chain each recipe's settings are followed by its preset's, so a
variant overrides what it extends at every size.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError
from kdbench.recipes import shipped
from kdbench.recipes.changes import absent_networks, changed, first_key, merged_network
from kdbench.recipes.layers import TEACHER, Layer, beside, extended, files, layers
from kdbench.recipes.network_spec import NetworkSpec, Train
from kdbench.recipes.schema import Data, Recipe
from kdbench.recipes.track import Track
from kdbench.registry import registry
from kdbench.util.validation import checked, found

OWN = ("equations", "deviations")
"""What a recipe says of itself alone: what is true of one that it extends need not be true of it."""
LINEAGE = ("summary", "source", *OWN)
"""What a recipe says of where it comes from, which is no setting of a network."""
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


def assembled(name_or_path: str, preset: str, changes: Mapping[str, Any], teacher: str | None) -> Recipe:
    """A method with its teacher at one preset, with changes; every key is checked.

    Args:
        name_or_path: As for `resolve`.
        preset: As for `resolve`.
        changes: Changes of the recipe, nested.
        teacher: Name of a teacher, or path of its YAML file, in place of the method's own.

    Raises:
        UsageError: As `resolve`.
    """
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
    merged = {key: value for key, value in merged.items() if key not in OWN} | own_words(chain, preset)
    _refuse_unsettable(changes)
    if TEACHERS in changes and changes[TEACHERS] is None:
        if not merged.get(TEACHERS):
            raise UsageError(
                f"the method '{_method_of(chain[-1])}' has one teacher at most, so --set teachers=null changes nothing",
                hint="Without it: --set teacher=null",
            )
        merged, changes = {**merged, TEACHERS: {}}, _without_teachers(changes)
    merged, changes = _with_teachers(merged, changes, preset, None), _without_teachers(changes)
    stem = _method_of(chain[-1])
    if teacher is not None and own is None:
        several = ", ".join(merged.get(TEACHERS) or ())
        has = f"has several teachers ({several}), none of which" if several else "has no teacher, so"
        does = "takes the place of" if several else "changes nothing"
        raise UsageError(
            f"the method '{stem}' {has} --teacher {teacher} {does}",
            hint=f"Change one of them: --set teachers.{next(iter(merged[TEACHERS]))}={teacher}"
            if several
            else "Leave out --teacher.",
        )
    stems = [] if TEACHER in changes and changes[TEACHER] is None else [_stem(teacher or own)]
    stems += [network.get(_NAMED) or name for name, network in merged.get(TEACHERS, {}).items()]
    taught_by = "+".join(stem for stem in stems if stem is not None) or None
    title = stem if teacher in (None, own) else f"{stem} + {taught_by}"
    is_shipped = shipped.path_of(method if stem == chain[-1].path.stem else stem) is not None
    merged["name"] = _name(stem, teacher, own, is_shipped=is_shipped)
    for phase in absent_networks(merged, changes):
        raise UsageError(
            f"the recipe '{title}' has no {phase}, so {first_key(phase, changes[phase])} changes nothing",
            hint=keys_hint(name_or_path),
        )
    merged = changed(merged, changes)
    if TEACHERS in merged:
        # What they are called is no setting of theirs.
        merged[TEACHERS] = {
            name: {key: value for key, value in network.items() if key != _NAMED}
            for name, network in merged[TEACHERS].items()
        }
    recipe = checked(Recipe, merged, f"recipe '{title}'", hint=lambda: keys_hint(name_or_path))
    return recipe.called(stem, taught_by, title)


def own_words(chain: Sequence[Layer], preset: str) -> dict[str, Any]:
    """The equations and deviations of a recipe itself; of a tuned one, those of the method whose numbers were chosen.

    Args:
        chain: Its files, as `layers` gives them.
        preset: As for `resolve`.
    """
    speaks = chain[-2] if "tuning" in chain[-1].settings and len(chain) > 1 else chain[-1]
    said = {**speaks.own, **speaks.at(preset)}
    return {key: said[key] for key in OWN if key in said}


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
            merged = changed(merged, _without_teachers(changes))
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
            place = named if path is None else beside(path, named)
            # Named once more, a teacher keeps what was changed of it since.
            if teachers.get(name, {}).get(_NAMED) != _stem(place):
                teachers[name] = {**teacher_at(place, preset), _NAMED: _stem(place)}
        if entry is None:
            teachers.pop(name, None)
        elif isinstance(own, Mapping):
            teachers[name] = merged_network(teachers.get(name, {}), own)
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
                own = beside(layer.path, named)
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
    if "tuning" in layer.settings and (names := extended(layer.path, layer.settings)):
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
            merged = merged_network(merged, changes)
    return {key: value for key, value in merged.items() if key not in LINEAGE}


def _name(method: str, teacher: str | None, own: str | None, *, is_shipped: bool) -> str:
    """What a method with a teacher is called in the names of folders."""
    known = shipped.former_name(method, teacher or own or "") if is_shipped else None
    called = shipped.folder_name(method) if is_shipped else method
    return known or (called if teacher in (None, own) else f"{called}+{_stem(teacher)}")


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
