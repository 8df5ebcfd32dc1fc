"""The built-in teachers by name, for their registry."""

from __future__ import annotations

from kdbench.recipes.shipped import TEACHERS
from kdbench.util import paths

BUILTIN = {path.stem: "kdbench.recipes" for path in sorted((paths.folder("methods") / TEACHERS).glob("[!_]*.yaml"))}
