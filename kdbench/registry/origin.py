"""Where a name comes from: who owns it, where its source lies, and the hash of that source."""

from __future__ import annotations

import ast
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.registry import source

BUILT_IN = "kdbench"
THIS_PROCESS = "this process"


@dataclass(frozen=True)
class Origin:
    """Where a name comes from.

    Attributes:
        kind: The kind in the singular.
        name: The name that its owner gave it.
        target: `module:attribute`.
        distribution: Name of the installed distribution; `kdbench` for what is built in.
        version: The distribution's version.
        file: The file of a plugin without packaging.
        fault: What is wrong with its registration, known without importing it; empty where nothing is.
        sha256: Hash of its source as it was when it was made known in this process; else None.
    """

    kind: str
    name: str
    target: str
    distribution: str = BUILT_IN
    version: str = ""
    file: Path | None = None
    fault: str = ""
    sha256: str | None = None

    @property
    def built_in(self) -> bool:
        """Whether kdbench ships it."""
        return self.distribution == BUILT_IN

    @property
    def owner(self) -> str:
        """Who provides it, as lists show it: the distribution with its version, or the file."""
        if self.built_in:
            return "built in"
        return str(self.file) if self.file else f"{self.distribution} {self.version}".rstrip()

    @property
    def qualified(self) -> str:
        """The name that no other distribution can take: `distribution:name`."""
        return f"{normalised(self.distribution)}:{self.name}"

    @property
    def source(self) -> Path | None:
        """The file of the module, found without importing it; None where it cannot be."""
        return self.file or _file_of(self.target.partition(":")[0])

    def source_sha256(self) -> str | None:
        """Hash of all that its distribution brings, or of the file; None where the source is not there."""
        file = None if self.sha256 or self.file else self.source
        if file is None:
            return self.sha256
        try:
            return source.sha256_of(source.files_of(self.distribution, self.target.partition(":")[0], file))
        except (OSError, ValueError, IndexError):
            return None

    def beside(self, name: str) -> Path:
        """A file beside the module.

        Raises:
            UsageError: The registration is broken, or there is no such module or file.
        """
        path = None if self.fault or self.source is None else self.source.parent / name
        if path is not None and path.is_file():
            return path
        problem = f"there is no file {path}" if path else f"there is no module {self.target.partition(':')[0]}"
        raise UsageError(
            f"the {label(self.kind)} '{self.name}' of {self.owner} is broken: {self.fault or problem}",
            hint=f"It comes with {name} beside its module. Mend or uninstall that distribution.",
        )

    def summary(self) -> str:
        """First line of the docstring, read from the source without importing it; empty where that cannot be."""
        attribute, source = self.target.partition(":")[2], self.source
        try:
            tree = ast.parse(source.read_bytes()) if source else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            return ""
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        return ""


def _file_of(module: str) -> Path | None:
    """The file of a module, found without importing the packages above it."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None
    file, folders = Path(spec.origin or "") if spec else None, list((spec and spec.submodule_search_locations) or ())
    for name in below:
        places = [Path(folder, name) for folder in folders]
        place = next((place for place in places if place.is_dir() or place.with_suffix(".py").is_file()), None)
        if place is None:
            return None
        file, folders = (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")), [str(place)]
    return file if file and file.is_file() else None


def label(kind: str) -> str:
    """What messages call a kind."""
    return "data set" if kind == "dataset" else kind


def normalised(distribution: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
