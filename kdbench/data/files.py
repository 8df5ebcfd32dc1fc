"""Writing prepared data: whole files or none, and a full disk explained."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kdbench.errors import RunFailed

# EFBIG is what a file-size limit (ulimit -f) gives.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that appears under its name only when the block ends without an error.

    Raises:
        RunFailed: The disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def explained(error: OSError, path: Path) -> RunFailed:
    """The error for a file that cannot be written."""
    full = error.errno in _FULL
    return RunFailed(
        f"cannot write {path}: {'no space is left there' if full else error.strerror}",
        hint="Free some space and repeat the command: it goes on where it was. "
        "KDBENCH_CACHE=FOLDER puts prepared data elsewhere.",
    )


def write_array(path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Writes a .npy file from consecutive pieces, without holding it in memory.

    Plain writes instead of a memory map: on a full disk a map dies by a signal, a write gives an error.

    Args:
        path: The file.
        parts: Pieces along the first axis, in C order.
        shape: Shape of the whole.
        dtype: Type of the whole.
    """
    with whole(path) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)
        file.flush()
        os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
