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
_BYTECODE = {".pyc", ".pyo"}
_METADATA = (".dist-info", ".egg-info")
_INSTALLED_INTO = {"site-packages", "dist-packages"}
_NOT_SHIPPED = {"build", "dist", "doc", "docs", "test", "tests"}
_BESIDE_MODULES = {".py", ".so", ".pyd", ".yaml", ".yml", ".json", ".csv", ".txt", ".npy", ".npz"}
"""Suffixes that count in the folder of top-level modules, where also logs and readmes lie."""


def files_of(distribution: str, module: str, chain: list[Path]) -> dict[str, Path]:
    """Every file of a plugin, by its name in the hash.

    Those are the files that its distribution recorded when it was installed, and all of the package that the module is
    in. Where the module is not recorded, as in an editable install, they are what lies beside it on the import path:
    modules and folders that hold Python, with all that is in them.

    Args:
        distribution: Its name.
        module: The module's dotted name.
        chain: The `__init__` files of the packages above the module, from the top, then its own.
    """
    own, depth = chain[-1], module.count(".") + (chain[-1].name == "__init__.py")
    root = own.parents[depth]
    recorded = _recorded(distribution)
    inside = chain[0].parent if chain[0].name == "__init__.py" else None
    if any(path.name == own.name and path.is_file() and path.samefile(own) for path in recorded.values()):
        found = dict(recorded)
    elif _is_shared(root):
        tops = {module.partition(".")[0], *_top_level(distribution)}
        found = _named(root, (path for top in sorted(tops) for path in _module_or_tree(root, top)))
    else:
        found = _named(root, _importable(root))
    return found | _named(root, () if inside is None else tree(inside))


def beside(file: Path, loaded: Collection[str] = ()) -> dict[str, Path]:
    """The modules and packages beside a file that it imports, and those that they import, by their names in the hash.

    Args:
        file: A Python file.
        loaded: Names of top-level modules that it is known to have imported from its folder, however it did.
    """
    folder, seen = file.parent, {file.stem, "kdbench"}
    found: dict[str, Path] = {}
    wanted = [*loaded, *_imports(file)]
    while wanted:
        top = wanted.pop()
        if top in seen:
            continue
        seen.add(top)
        paths = list(_module_or_tree(folder, top))
        if any(path.suffix == ".py" for path in paths):
            found |= _named(folder, paths)
            wanted += [name for path in paths if path.suffix == ".py" for name in _imports(path)]
    return found


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


def tree(folder: Path) -> Iterator[Path]:
    """Files below a folder, in a fixed order, without bytecode, metadata, environments and what is hidden."""
    return islice(_walk(folder), MOST_FILES)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if _counts(name))
        paths = (Path(parent, name) for name in sorted(names) if _counts(name))
        yield from (path for path in paths if path.is_file())


def _counts(name: str) -> bool:
    bytecode = name == "__pycache__" or Path(name).suffix in _BYTECODE
    return not (bytecode or name.startswith(".") or name.endswith(_METADATA))


def _recorded(distribution: str) -> dict[str, Path]:
    """What was installed, by its name in the record; without metadata, bytecode and scripts, which name the machine."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    kept = [
        file
        for file in files
        if all(part == ".." or _counts(part) for part in file.parts)
        and not (file.parts[0] == ".." and file.parent.name in {"bin", "Scripts"})
    ]
    return {file.as_posix(): Path(str(file.locate())) for file in islice(sorted(kept), MOST_FILES)}


def _top_level(distribution: str) -> list[str]:
    try:
        text = importlib.metadata.distribution(distribution).read_text("top_level.txt")
    except importlib.metadata.PackageNotFoundError:
        return []
    return (text or "").split()


def _is_shared(root: Path) -> bool:
    """Whether several distributions are installed into a folder of the import path."""
    return root.name in _INSTALLED_INTO or sum(path.name.endswith(_METADATA) for path in root.iterdir()) > 1


def _importable(root: Path) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        if not _counts(entry.name):
            continue
        if entry.is_dir() and entry.name not in _NOT_SHIPPED:
            paths = list(tree(entry))
            yield from paths if any(path.suffix == ".py" for path in paths) else ()
        elif entry.is_file() and entry.suffix in _BESIDE_MODULES:
            yield entry


def _module_or_tree(root: Path, top: str) -> Iterator[Path]:
    module = root / f"{top}.py"
    if module.is_file():
        yield module
    if (root / top).is_dir():
        yield from tree(root / top)


def _named(root: Path, paths: Iterable[Path]) -> dict[str, Path]:
    return {path.relative_to(root).as_posix(): path for path in islice(paths, MOST_FILES)}


def _imports(file: Path) -> set[str]:
    """Top-level names that a file imports anywhere, read without running it."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.partition(".")[0] for name in names} - {""}
