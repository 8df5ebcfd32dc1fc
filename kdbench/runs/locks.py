"""Whether another process is at a run's or a teacher's folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a run's or a teacher's folder."""
    # To try a lock that is not there would make its file.
    path = folder / LOCK
    if not path.is_file():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    # Where the lock cannot be opened for writing, nobody makes a run.
    except OSError:
        return False
    lock.release()
    return False
