"""Imports what others wrote: whatever it prints, raises or waits for, kdbench's own output and state stay sound."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kdbench.errors import UsageError
from kdbench.registry.notice import once
from kdbench.registry.origin import Origin, label
from kdbench.registry.streams import stdout_to_stderr

SLOW_SECONDS = 10.0
"""After this long a line says which plugin is being imported."""


_hashes: dict[Origin, str | None] = {}


def resolved(target: str) -> Any:
    """Imports `module:attribute`."""
    module, _, attribute = target.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))


def load(origin: Origin, check: Callable[[Any], None]) -> Any:
    """Imports a plugin's component.

    Args:
        origin: Where it comes from.
        check: Raises a `UsageError` where the object is not what it is registered as.

    Raises:
        UsageError: It is registered wrongly, cannot be imported, or is not what it is registered as. The next call
            tries again.
    """
    what = f"the {label(origin.kind)} '{origin.name}' of {origin.owner}"
    hint = "See where: kdbench list --broken. Mend or uninstall that distribution."
    if origin.fault:
        raise UsageError(f"{what} is broken: {origin.fault}", hint=hint)
    with guarded(what, origin.target.partition(":")[0].partition(".")[0]):
        try:
            component = resolved(origin.target)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Also SystemExit, and what test libraries raise to skip a module.
            raise UsageError(f"{what} ({origin.target}) cannot be imported: {said(error)}", hint=hint) from error
        check(component)
        # Of what was imported: the file may be edited while this process lives.
        if origin not in _hashes:
            _hashes[origin] = origin.source_sha256()
        return component


def imported_sha256(origin: Origin) -> str | None:
    """Hash of a plugin's source as it was imported; as it is now, where this process has not imported it."""
    return _hashes[origin] if origin in _hashes else origin.source_sha256()


def said(error: BaseException) -> str:
    """An error's class and what it says, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def guarded(what: str, top: str) -> Iterator[None]:
    """Runs an import of foreign code.

    What it prints goes to the error stream; a line tells of it when it takes long; and where it fails, the modules
    that it left half imported are forgotten, so that the next attempt starts anew.

    Args:
        what: Names the plugin.
        top: Its top-level package or module.
    """
    before = set(sys.modules)
    text = f"still importing {what} after {SLOW_SECONDS:g} s; Ctrl-C stops it"
    timer = threading.Timer(SLOW_SECONDS, once, [text])
    # It must not keep a process alive that has nothing else to do.
    timer.daemon = True
    timer.start()
    try:
        with stdout_to_stderr():
            yield
    except BaseException:
        # What is half imported would be found in sys.modules by the next attempt.
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == top:
                del sys.modules[name]
        importlib.invalidate_caches()
        raise
    finally:
        timer.cancel()
