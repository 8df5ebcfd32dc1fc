"""The files that a plugin's source consists of, and one hash of them: an edit of any makes another run."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import os
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

MOST_FILES = 20_000
MOST_BYTES = 256 << 20
"""What is read of a plugin's files, code first; of what lies beyond, name and size count."""
_BYTECODE = (".pyc", ".pyo")
_METADATA = (".dist-info", ".egg-info")
_INSTALLED_INTO = {"site-packages", "dist-packages"}
_NOT_SHIPPED = {"build", "dist", "doc", "docs", "test", "tests"}
_BESIDE_MODULES = {".py", ".so", ".pyd", ".yaml", ".yml", ".json", ".csv", ".txt", ".npy", ".npz"}
"""Suffixes that count in the folder of top-level modules, where also logs and readmes lie."""


def files_of(distribution: str, module: str, file: Path) -> dict[str, Path]:
    """Every file of a plugin, by its name in the hash.

    Those are the files that its distribution recorded when it was installed, and all of the package that the module is
    in. Where the module is not recorded, as in an editable install, they are what lies beside it on the import path:
    modules and folders that hold Python, with all that is in them.

    Args:
        distribution: Its name.
        module: The module's dotted name.
        file: The module's file.
    """
    depth = module.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    packages = [folder for folder in file.parents[:depth] if (folder / "__init__.py").is_file()]
    recorded = _recorded(distribution)
    # Installed in place (editable), the record does not name the sources.
    if not any(path.name == file.name and path.resolve() == file.resolve() for path in recorded.values()):
        tops = {module.partition(".")[0], *_top_level(distribution)}
        # In a folder that others are installed into, only what the distribution names is its own.
        recorded = _named(root, _places(root, tops) if _is_shared(root) else _importable(root))
    return recorded | _named(root, packages[-1:])


def beside(file: Path, loaded: Collection[str] = ()) -> dict[str, Path]:
    """The modules and packages beside a file that it imports, and those that they import, by their names in the hash.

    Args:
        file: A Python file.
        loaded: Names of top-level modules that it is known to have imported from its folder, however it did.
    """
    waiting, seen = {*loaded, *_imports(file)}, {file.stem, "kdbench"}
    files: dict[str, Path] = {}
    while waiting := waiting - seen:
        seen |= waiting
        trees = [_named(file.parent, _places(file.parent, [top])) for top in sorted(waiting)]
        python = [tree for tree in trees if any(path.suffix == ".py" for path in tree.values())]
        files |= {name: path for tree in python for name, path in tree.items()}
        waiting = {name for tree in python for path in tree.values() if path.suffix == ".py" for name in _imports(path)}
    return files


def sha256_of(files: dict[str, Path]) -> str:
    """One hash of files: of their names, sizes and contents."""
    digest, left = hashlib.sha256(), MOST_BYTES
    for name, path in sorted(files.items(), key=lambda item: (item[1].suffix != ".py", item[0])):
        digest.update(f"{name}\0".encode())
        try:
            size = path.stat().st_size
            digest.update(f"{size}\0".encode())
            if size <= left:
                left -= size
                with path.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError:
            digest.update(b"unreadable\0")
    return digest.hexdigest()


def _named(root: Path, places: Iterable[Path]) -> dict[str, Path]:
    """Files, and all that counts below folders, by their path below the root."""
    paths = (path for place in places for path in (_tree(place) if place.is_dir() else [place]))
    return {path.relative_to(root).as_posix(): path for path in islice(filter(Path.is_file, paths), MOST_FILES)}


def _tree(folder: Path) -> Iterator[Path]:
    """What lies below a folder, in a fixed order; environments of Python are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [] if "pyvenv.cfg" in names else sorted(filter(_counts, folders))
        yield from [] if "pyvenv.cfg" in names else (Path(parent, name) for name in sorted(filter(_counts, names)))


def _counts(name: str) -> bool:
    return name == ".." or not (name == "__pycache__" or name.startswith(".") or name.endswith(_BYTECODE + _METADATA))


def _recorded(distribution: str) -> dict[str, Path]:
    """What was installed, by its name in the record; without metadata, bytecode and scripts, which name the machine."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    scripts = {("..", "bin"), ("..", "Scripts")}
    kept = [f for f in files if all(map(_counts, f.parts)) and (f.parts[0], f.parent.name) not in scripts]
    return {file.as_posix(): Path(str(file.locate())) for file in islice(sorted(kept), MOST_FILES)}


def _top_level(distribution: str) -> list[str]:
    try:
        return (importlib.metadata.distribution(distribution).read_text("top_level.txt") or "").split()
    except importlib.metadata.PackageNotFoundError:
        return []


def _is_shared(root: Path) -> bool:
    """Whether several distributions are installed into a folder of the import path."""
    return root.name in _INSTALLED_INTO or sum(path.name.endswith(_METADATA) for path in root.iterdir()) > 1


def _places(root: Path, tops: Iterable[str]) -> list[Path]:
    """The module and the folder of each top-level name."""
    return [place for top in sorted(tops) for place in (root / f"{top}.py", root / top) if place.exists()]


def _importable(root: Path) -> Iterator[Path]:
    for place in sorted(root.iterdir()):
        if not _counts(place.name):
            continue
        if place.is_dir() and place.name not in _NOT_SHIPPED:
            yield from [place] if any(path.suffix == ".py" for path in _tree(place)) else []
        elif place.suffix in _BESIDE_MODULES:
            yield place


def _imports(file: Path) -> set[str]:
    """Top-level names that a file imports anywhere, read without running it."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.partition(".")[0] for name in names} - {""}
