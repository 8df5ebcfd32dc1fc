"""Keeps standard output for what kdbench itself says, whatever foreign code writes and by whichever way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

_OUT, _ERR = 1, 2
_lock = threading.Lock()
_inside = 0
_undo = contextlib.ExitStack()


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Sends to the error stream what the block writes to standard output: `print`, `os.write`, C code and children.

    Blocks may be nested and may run in several threads; all is put back when the last one ends.
    """
    global _inside
    # Blocks may be nested, and run in several threads: the first one redirects, the last one restores.
    with _lock:
        _inside += 1
        if _inside == 1:
            _redirect()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _undo.close()


@contextlib.contextmanager
def own_stdout() -> Iterator[TextIO]:
    """A stream to standard output as it is now, which `stdout_to_stderr` leaves alone."""
    out = sys.stdout
    try:
        kept = os.dup(_OUT) if out.fileno() == _OUT else None
    except (AttributeError, OSError, ValueError):
        # Replaced by an object without a descriptor, as in notebooks and tests; or closed.
        kept = None
    if kept is None:
        yield out
        return
    out.flush()
    with open(kept, "w", encoding=out.encoding, errors=out.errors, buffering=1) as stream:  # noqa: PTH123
        yield stream


def _redirect() -> None:
    _flush()
    with contextlib.suppress(OSError):
        kept = os.dup(_OUT)
        _undo.callback(os.close, kept)
        # Where there is no error stream, what is written stays where it goes.
        os.dup2(_ERR, _OUT)
        _undo.callback(os.dup2, kept, _OUT)
    _undo.enter_context(contextlib.redirect_stdout(sys.stderr))
    _undo.callback(_flush)


def _flush() -> None:
    """Empties the buffers of Python and of C, so that nothing lands on the wrong side."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).fflush(None)
