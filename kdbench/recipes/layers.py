"""The files of a recipe: where they are, and what each says, along the chain of what a recipe extends."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kdbench.errors import UsageError, shortened, unknown
from kdbench.recipes import shipped
from kdbench.recipes.schema import PRESETS
from kdbench.recipes.titles import with_titles
from kdbench.registry import registry
from kdbench.text.wording import some
from kdbench.util import paths
from kdbench.util.validation import found

_MOST_FILES = 100
_NEAR = 3
"""Names that a hint offers at most."""
TEACHER = "teacher"
_TEACHERS_HINT = "See the teachers: kdbench list teachers"


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
                raise unknown(
                    f"preset in the recipe {self.path}",
                    key,
                    PRESETS,
                    hint="Presets are sizes: mend the file's presets:.",
                )
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
            with_it = f" with the teacher {pair.teacher}" if pair.teacher else ""
            raise UsageError(
                f"'{name_or_path}' is no teacher but a former name of {pair.method}{with_it}",
                hint=f"Write --teacher {pair.teacher}" if pair.teacher else _TEACHERS_HINT,
            )
        if path.suffix not in {".yaml", ".yml"} and os.sep not in name_or_path:
            error = registry(kind).unknown(name_or_path, shipped.aliases() if kind == "method" else ())
            raise with_titles(error, name_or_path) if kind == "method" else error
        if not paths.is_file(path):
            raise UsageError(
                f"there is no recipe file {shortened(str(path), 200)}",
                hint=_beside(path) or f"See the shipped ones: kdbench list {kind}s",
            )
    return path


def _beside(path: Path) -> str:
    """Recipes of the same folder whose names come near, as a hint; empty without one."""
    try:
        names = sorted(each.name for each in path.parent.glob("*.yaml"))
    except OSError:
        # A name that no file could have.
        return ""
    near = [name for name in names if name.startswith(path.stem)] or difflib.get_close_matches(path.name, names)
    return f"Did you mean {some([path.parent / name for name in near], _NEAR)}?" if near else ""


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
    # A former name is a method with a teacher, as if a recipe extended the one and named the other.
    if kind == "method" and (pair := shipped.behind(name)):
        _visited(pair.method, kind, above, seen)
        seen[name] = Layer(locate(f"{shipped.ALIASES}"), {"teacher": pair.teacher} if pair.teacher else {})
        return seen
    path = locate(name, kind).absolute()
    if path in above:
        way = " → ".join(link.stem for link in (*above, path))
        raise UsageError(
            f"the recipe '{path.stem}' extends itself: {shortened(way, 300)}",
            hint="Let one of them extend another recipe, or none.",
        )
    # What is reached in two ways counts once, in its first place.
    if path in seen:
        return seen
    if len(above) + len(seen) >= _MOST_FILES:
        raise UsageError(
            f"the recipe '{above[0].stem}' extends more than {_MOST_FILES} recipes",
            hint="Write the keys into fewer files.",
        )
    settings = _read_shipped(path) if shipped.is_shipped(path) else paths.read_mapping(path, "recipe")
    for parent in extended(path, settings):
        _check_kind(path, kind, parent)
        _visited(beside(path, parent), kind, (*above, path), seen)
    seen[path] = Layer(path, settings)
    return seen


def _check_kind(path: Path, kind: str, parent: str) -> None:
    """Refuses a method's file in the place of a teacher's, and the other way round."""
    other = TEACHER if kind == "method" else "method"
    is_former = kind == "method" and shipped.behind(parent) is not None
    if is_former or shipped.path_of(parent, kind) is not None or shipped.path_of(parent, other) is None:
        return
    use = f"--method teacher_only --teacher {path.name}" if other == TEACHER else f"--method {path.name}"
    raise UsageError(
        f"{path.name} is asked for as a {kind}, and extends the {other} '{parent}'",
        hint=f"Ask for it as a {other}: {use}",
    )


@functools.cache
def _read_shipped(path: Path) -> Mapping[str, Any]:
    """What a shipped file says; it is read once, since nobody changes it meanwhile."""
    return paths.read_mapping(path, "recipe")


def extended(path: Path, settings: Mapping[str, Any]) -> list[str]:
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
    return UsageError(f"the recipe {path}: {key} = {found(value)}: expected {expected}", hint=f"Mend it in {path}.")


def beside(path: Path, named: str) -> str:
    """What a recipe names: a name as it is, a relative path below the folder of the recipe."""
    # A shipped tuned recipe has a separator in its name, and is no path.
    is_path = named.endswith((".yaml", ".yml")) or (os.sep in named and named not in shipped.tuned())
    return str(path.parent / named) if is_path else named
