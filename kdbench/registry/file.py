"""A plugin without packaging: a Python file in which components are decorated."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import shlex
import sys
import traceback
import types
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError
from kdbench.registry import KINDS, Part, decorated, part_of, registry
from kdbench.registry import source as source_of
from kdbench.registry.importing import guarded, said
from kdbench.registry.origin import Origin

_HELPERS = "__kdbench_helpers__"
"""Attribute of a file's module that names the modules of its folder which it was the first to import."""


def load_plugin(path: str | Path) -> tuple[Part, ...]:
    """Runs a Python file and makes every component that is decorated in it known in this process.

    Loaded again, for example after an edit in a notebook, a file replaces what it brought before.

    Args:
        path: The file.

    Returns:
        The parts that it brought, in the order of the file.

    Raises:
        UsageError: No such file; it raises; it decorates nothing, or two parts by one name; or a name is taken. What
            was known before stays.
    """
    file = Path(path).expanduser().resolve()
    _check_path(file, path)
    module = types.ModuleType(_module_name(file))
    module.__file__ = str(file)
    before = [part for kind in KINDS for part in registry(kind).drop(file)]
    old = sys.modules.pop(module.__name__, None)
    _forget(getattr(old, _HELPERS, ()))
    try:
        with guarded(f"the plugin {path}", module.__name__):
            components = _components(module, file, path)
            for origin, component in components:
                registry(origin.kind).add(component, origin)
    # Whatever stops it, Ctrl-C too: what was known before is known again.
    except BaseException:
        unload_plugin(file)
        for origin, component in before:
            registry(origin.kind).add(component, origin)
        if old is not None:
            sys.modules[module.__name__] = old
        raise
    return tuple(part_of(component) for _, component in components)


def unload_plugin(path: str | Path) -> None:
    """Forgets what a file brought."""
    file = Path(path).expanduser().resolve()
    for kind in KINDS:
        registry(kind).drop(file)
    _forget(getattr(sys.modules.pop(_module_name(file), None), _HELPERS, ()))


@contextlib.contextmanager
def loaded(paths: Iterable[str | Path]) -> Iterator[None]:
    """Loads files for the time of the block."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            load_plugin(path)
            stack.callback(unload_plugin, path)
        yield


def _module_name(file: Path) -> str:
    # Files of one name in two folders must not share a module.
    return f"kdbench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _check_path(file: Path, path: str | Path) -> None:
    if file.suffix in {".yaml", ".yml"}:
        raise UsageError(
            f"the plugin {path} is a YAML file, expected Python",
            hint="Give a recipe by its path, --method FILE, and a card too: --dataset FILE.",
        )
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise UsageError(
            f"the plugin {path} {what}, expected a Python file",
            hint=f"Name the file of the part: --plugin {_meant(file)}. To start one: kdbench new loss NAME",
        )
    if file.suffix != ".py":
        raise UsageError(f"the plugin {path} is no Python file (*.py)", hint="Name a file that ends in .py.")


def _meant(file: Path) -> str:
    """The Python file that is likely meant: the only one of a folder, or one beside a name that is written alike."""
    if file.is_dir():
        found = [each for each in file.glob("*.py") if not each.name.startswith("_")]
        return shlex.quote(str(found[0] if len(found) == 1 else file / "FILE.py"))
    near = difflib.get_close_matches(file.name, [each.name for each in file.parent.glob("*.py")], n=1)
    return shlex.quote(str(file.with_name(near[0]))) if near else "FILE.py"


def _mended(error: BaseException, path: str | Path) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Install {error.name.partition('.')[0]}, or put that module beside the plugin."
    return f"Mend it there. The whole traceback: python {shlex.quote(str(path))}"


def _components(module: types.ModuleType, file: Path, path: str | Path) -> list[tuple[Origin, Any]]:
    """Runs the file; what it imports may be decorated elsewhere, and does not count."""
    sys.modules[module.__name__] = module
    known = set(sys.modules)
    try:
        # Not through the import system, whose bytecode cache misses an edit within the same second.
        source = file.read_bytes()
        code = compile(source, str(file), "exec")
        with decorated() as decorated_here:
            exec(code, module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _forget(_helpers(file, known))
        raise UsageError(
            f"the plugin {path} cannot be imported: {said(error)}{_line(error, file)}", hint=_mended(error, path)
        ) from error
    helpers = _helpers(file, known)
    setattr(module, _HELPERS, helpers)
    own = [component for component in decorated_here if getattr(component, "__module__", None) == module.__name__]
    if not own:
        raise UsageError(
            f"the plugin {path} decorates nothing", hint="Put @loss(NAME, …), @encoder(NAME, …), … above a component."
        )
    counts = Counter((part_of(component).kind, part_of(component).name) for component in own)
    (kind, name), count = counts.most_common(1)[0]
    if count > 1:
        raise UsageError(f"the plugin {path} registers the {kind} '{name}' {count} times", hint="Rename all but one.")
    beside = source_of.beside(file, {name.partition(".")[0] for name in helpers})
    sha256 = hashlib.sha256(source).hexdigest()
    if beside:
        sha256 = hashlib.sha256(f"{sha256} {source_of.sha256_of(beside)}".encode()).hexdigest()
    return [(_origin(component, file, sha256), component) for component in own]


def _helpers(file: Path, known: set[str]) -> list[str]:
    """The modules that are new, and lie where an import from the file's folder finds them."""
    names = []
    for name in set(sys.modules) - known:
        place, source = file.parent.joinpath(*name.split(".")), getattr(sys.modules[name], "__file__", None)
        if source and Path(source).resolve() in {place.with_name(f"{place.name}.py"), place / "__init__.py"}:
            names.append(name)
    return names


def _forget(names: Iterable[str]) -> None:
    """Lets the next import read these modules again."""
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def _origin(component: Any, file: Path, sha256: str) -> Origin:
    part, target = part_of(component), f"{file.name}:{component.__qualname__}"
    return Origin(part.kind, part.name, target, file.name, file=file, sha256=sha256)


def _line(error: BaseException, file: Path) -> str:
    """The line of the file that raised; a syntax error says it itself."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f" ({file.name}, line {lines[-1]})" if lines else ""
