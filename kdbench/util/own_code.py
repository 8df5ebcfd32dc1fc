"""Which kdbench this is, to the last letter: what was computed by another one is not taken for this one's."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kdbench.util import paths

_SHIPPED = ("methods", "datasets", "leaderboard/site")
_LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pydantic-core",
    "PyYAML",
    "Jinja2",
    "MarkupSafe",
    "pillow",
)


@functools.cache
def own_code() -> str:
    """Hash of kdbench's modules, of the recipes, cards and templates that it ships, and of its libraries' versions."""
    digest = hashlib.sha256(sys.version.encode())
    for name in _LIBRARIES:
        digest.update(f"{name} {_version(name)}\0".encode())
    for root in (Path(__file__).parents[1], *map(_shipped, _SHIPPED)):
        for path in _files(root):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _shipped(name: str) -> Path:
    first, _, rest = name.partition("/")
    return paths.folder(first) / rest


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
