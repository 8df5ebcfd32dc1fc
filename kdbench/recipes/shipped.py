"""Where recipes lie: the shipped files, and those that installed distributions bring.

A method is a file of `methods/`, a teacher one of `methods/teachers/`; a method names the teacher that it has unless
another is asked for. A distribution brings one by an entry point of the group `kdbench.methods` or `kdbench.teachers`:
its name is the recipe's, its value a module of the distribution, and `NAME.yaml` lies beside that module.

Former names of methods stand for a method and a teacher: `hinton_raw` is `kd` with the teacher `raw`. What is such a
pair keeps that name in the folders of runs, so that what was run before is found. A method that has another name today
keeps its former one there, too, with any teacher. One that another method has replaced, such as `actionmae_style`, is a
former name without a teacher, and its runs are called by today's.

Recipes that a search has tuned lie below `tuned`, a folder per data set, by their path: `tuned/utd_mhad/rkd_raw`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from kdbench.registry import registry
from kdbench.registry.origin import Origin
from kdbench.util import paths

BUILTIN = {path.stem: "kdbench.recipes" for path in sorted(paths.folder("methods").glob("[!_]*.yaml"))}
TEACHERS = "teachers"
ALIASES = "_aliases"
RENAMED = "_renamed"
TUNED = "tuned"


class Pair(NamedTuple):
    """A method and the teacher that it learns from, by their names; None where the method's own stays."""

    method: str
    teacher: str | None = None


@functools.cache
def aliases() -> dict[str, Pair]:
    """Former names of methods, sorted, with what each stands for."""
    pairs = paths.read_mapping(paths.folder("methods") / f"{ALIASES}.yaml", "list of former names")
    return {name: Pair(**pair) for name, pair in sorted(pairs.items())}


def behind(name: str) -> Pair | None:
    """What a former name stands for; None for other names, and where a plugin's method has it."""
    pair = aliases().get(name)
    return None if pair is None or registry("method").has(name) else pair


def former_name(method: str, teacher: str) -> str | None:
    """The former name of a method with a teacher; None where the pair has none."""
    return next((name for name, pair in aliases().items() if pair == (method, teacher)), None)


@functools.cache
def renamed() -> dict[str, str]:
    """Methods that have another name today: today's name by the former one."""
    return dict(paths.read_mapping(paths.folder("methods") / f"{RENAMED}.yaml", "list of renamed methods"))


def folder_name(method: str) -> str:
    """What a shipped method is called in the names of folders: as it was when it was first run."""
    return next((former for former, today in renamed().items() if today == method), method)


def tuned() -> list[str]:
    """Every tuned recipe that kdbench ships, sorted: `tuned/DATASET/METHOD`."""
    root = paths.folder("methods")
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in (root / TUNED).glob("*/[!_]*.yaml"))


def path_of(name: str, kind: str = "method") -> Path | None:
    """The file of a recipe; None where there is none.

    Args:
        name: Name of a method, of a tuned one, or of a piece that methods extend (`_NAME`); or of a teacher.
        kind: `method` or `teacher`.

    Raises:
        UsageError: Two distributions claim the name, or the one that registers it does not bring the file.
    """
    shipped = _folder(kind) / f"{name}.yaml"
    if paths.is_file(shipped):
        return shipped
    known = registry(kind)
    return file_of(known.origin(name)) if known.has(name) else None


def is_shipped(path: Path) -> bool:
    """Whether a file lies in the shipped folder of recipes."""
    # A path with `..` may begin with that folder and lead out of it.
    return ".." not in path.parts and path.is_relative_to(paths.folder("methods"))


def file_of(origin: Origin) -> Path:
    """The file of a method or a teacher.

    Raises:
        UsageError: Its distribution does not bring it.
    """
    if origin.built_in:
        return _folder(origin.kind) / f"{origin.name}.yaml"
    return origin.beside(f"{origin.name}.yaml")


def names() -> list[str]:
    """Every method, sorted."""
    return registry("method").names()


def _folder(kind: str) -> Path:
    return paths.folder("methods") / TEACHERS if kind == "teacher" else paths.folder("methods")
