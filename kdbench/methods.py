"""Where recipes lie: the shipped files, and those that installed distributions bring.

A distribution brings a recipe by an entry point of the group `kdbench.methods`: its name is the method's, its value a
module of the distribution, and `NAME.yaml` lies beside that module.
"""

from __future__ import annotations

from pathlib import Path

from kdbench import resources
from kdbench.registry import registry

BUILTIN = {path.stem: "kdbench.methods" for path in sorted(resources.folder("methods").glob("[!_]*.yaml"))}


def path_of(name: str) -> Path | None:
    """The file of a method, or of a piece that methods extend (`_NAME`); None where there is none."""
    shipped = resources.folder("methods") / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    origin = registry("method").origins().get(name)
    if origin is None or origin.source is None:
        return None
    return origin.source.parent / f"{name}.yaml"


def names() -> list[str]:
    """Every method, sorted."""
    return registry("method").names()
