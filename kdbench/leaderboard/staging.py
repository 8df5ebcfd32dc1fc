"""Folders that appear whole or not at all, whoever is killed while making one; the next maker removes what was left."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves stays there.
    fcntl = None  # type: ignore[assignment]

_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
# AT_FDCWD and RENAME_EXCHANGE of Linux, which Python has no names for.
_HERE = -100
_EXCHANGE = 2
_TRIES = 100


@contextlib.contextmanager
def staged(parent: Path, name: str) -> Iterator[Path]:
    """A folder of one's own, `.NAME.XXXXXXXX.tmp`, which is gone when the block ends, and what killed ones left too.

    It is locked while it is in use; one that nobody holds was left by a killed process.

    Args:
        parent: Where it is made; made too.
        name: What it is for.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, name)
    place, lock = _made(parent, name)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def move_in(fresh: Path, place: Path, *, left: Path) -> None:
    """Gives a finished folder its name; the folder that had it goes to `left`.

    Args:
        fresh: The finished folder.
        place: Its name. At no moment is there anything else than the old folder or the new one, where the system can
            exchange two; else there is a moment without either.
        left: Where the old one goes, on the same disk.
    """
    for _ in range(_TRIES):
        # Where nothing has the name yet, there is nothing to take away.
        with contextlib.suppress(FileNotFoundError):
            if _exchanged(fresh, place):
                return
            place.rename(left / uuid.uuid4().hex[:8])
        try:
            fresh.rename(place)
            return
        except OSError as error:
            # Another process was faster; its folder is the old one now.
            if error.errno not in _TAKEN:
                raise
    raise OSError(errno.EBUSY, "other processes replace it again and again", str(place))


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step; False where the system cannot.

    Raises:
        FileNotFoundError: One of them is not there.
    """
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    if ctypes.get_errno() == errno.ENOENT:
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(other))
    return False


def _made(parent: Path, name: str) -> tuple[Path, int | None]:
    for _ in range(_TRIES):
        place = parent / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
        place.mkdir()
        lock = _locked(place)
        # Somebody who sweeps may have taken it in between.
        if fcntl is None or (lock is not None and place.is_dir()):
            return place, lock
        if lock is not None:
            os.close(lock)
    raise OSError(errno.EBUSY, "no folder of one's own can be made", str(parent))


def _sweep(parent: Path, name: str) -> None:
    if fcntl is None:
        return
    for path in parent.glob(f".{name}.*.tmp"):
        if re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.tmp", path.name) and not path.is_symlink():
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(path: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where somebody else does, or it is none."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
