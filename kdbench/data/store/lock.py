"""One process at a time at a folder or file that several may want to make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from kdbench.data.store.progress import note
from kdbench.util import files, paths


@contextlib.contextmanager
def locked(path: Path, busy: str, *, shown: bool, elsewhere: str = paths.OTHER_CACHE) -> Iterator[None]:
    """Holds `PATH.lock`; waits aloud while another process does.

    Args:
        path: What is made.
        busy: What the other process does, for the line that is shown.
        shown: Show that line.
        elsewhere: As for `kdbench.util.files.unwritable`.

    Raises:
        RunFailed: The folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            note(f"Another process {busy}; waiting for it", shown=shown)
            lock.acquire()
    except OSError as error:
        raise files.unwritable(error, path, elsewhere=elsewhere) from error
    try:
        yield
    finally:
        lock.release()
