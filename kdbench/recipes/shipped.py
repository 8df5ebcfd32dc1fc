"""Where recipes lie: the shipped files, and those that installed distributions bring.

A distribution brings a recipe by an entry point of the group `kdbench.methods`: its name is the method's, its value a
module of the distribution, and `NAME.yaml` lies beside that module.

Recipes that a search has tuned lie below `tuned`, a folder per data set, by their path: `tuned/utd_mhad/rkd_raw`.
"""

from __future__ import annotations

from pathlib import Path

from kdbench.registry import registry
from kdbench.registry.origin import Origin
from kdbench.util import paths

BUILTIN = {path.stem: "kdbench.recipes" for path in sorted(paths.folder("methods").glob("[!_]*.yaml"))}


TUNED = "tuned"


def tuned() -> list[str]:
    """Every tuned recipe that kdbench ships, sorted: `tuned/DATASET/METHOD`."""
    root = paths.folder("methods")
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in (root / TUNED).glob("*/[!_]*.yaml"))


def path_of(name: str) -> Path | None:
    """The file of a method, of a tuned one, or of a piece that methods extend (`_NAME`); None where there is none.

    Raises:
        UsageError: Two distributions claim the name, or the one that registers it does not bring the file.
    """
    shipped = paths.folder("methods") / f"{name}.yaml"
    if paths.is_file(shipped):
        return shipped
    methods = registry("method")
    return file_of(methods.origin(name)) if methods.has(name) else None


def file_of(origin: Origin) -> Path:
    """The file of a method.

    Raises:
        UsageError: Its distribution does not bring it.
    """
    if origin.built_in:
        return paths.folder("methods") / f"{origin.name}.yaml"
    return origin.beside(f"{origin.name}.yaml")


def names() -> list[str]:
    """Every method, sorted."""
    return registry("method").names()
