"""Writing files: whole or not there at all, and a disk that is full explained."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kdbench.errors import RunFailed

# EFBIG is what a file-size limit (ulimit -f) gives.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MIB = 2**20
_MARK = 8
_TEMPORARY = re.compile(rf"\..+\.[0-9a-f]{{{_MARK}}}\.tmp", re.DOTALL)


@contextlib.contextmanager
def whole(path: Path, *, durable: bool = True, size: int | None = None, elsewhere: str = "") -> Iterator[BinaryIO]:
    """Opens a file that appears under its name only when the block ends without an error.

    Until then it is a temporary file beside it, so a killed writer leaves the earlier file.

    Args:
        path: The file; its folder is made.
        durable: Flush it to the disk before it gets its name. False for the many small files that are made again where
            one is damaged.
        size: Bytes that will be written, where it is known; for the message.
        elsewhere: As for `unwritable`.

    Raises:
        RunFailed: The disk is full, or the folder cannot be written; an earlier file is as it was.
    """
    # Beside the file: only within one file system is a replacement a single step.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:_MARK]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(error, path, size=size, elsewhere=elsewhere) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Removes the temporary files that killed writers left in a folder; whoever calls it holds the folder's lock."""
    for path in folder.glob(".*.tmp") if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def unwritable(error: OSError, path: Path, *, size: int | None = None, elsewhere: str = "") -> RunFailed:
    """The error for a file that cannot be written.

    Args:
        error: What the system said.
        path: The file or folder.
        size: Bytes that it would take, where it is known.
        elsewhere: How to choose another folder, as a sentence.
    """
    other = elsewhere or "Choose a folder that you may write."
    if error.errno not in _FULL:
        return RunFailed(f"cannot write {path}: {error.strerror or error}", hint=other)
    needs = "" if size is None else f"; it needs {math.ceil(size / _MIB)} MiB"
    again = "Free some space and repeat the same command: it goes on where it was."
    return RunFailed(
        f"the disk is full while writing {path}{needs}", hint=f"{again} {elsewhere}" if elsewhere else again
    )


def sha256_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
