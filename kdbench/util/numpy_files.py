"""Reading numpy's files, also in several threads at once."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np

_TRIES = 20


def load(
    source: Path | bytes, *, names: Collection[str] | None = None, mmap_mode: Literal["r"] | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """What a `.npy` file (an array) or a `.npz` archive (its arrays by their names) holds; objects are refused.

    numpy reads a header with Python's own parser, which counts its depth for all threads together in Python 3.11
    (https://github.com/python/cpython/issues/106905): of several threads that read at once, one may see a
    `SystemError` though its file is whole. It reads again.

    Args:
        source: The file, or its content.
        names: Of an archive, the arrays to read; None: all.
        mmap_mode: `"r"` maps an array rather than reading it.

    Raises:
        OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile: It is not such a file, or damaged.
        KeyError: An archive lacks one of the names.
    """
    for _ in range(_TRIES - 1):
        try:
            return _load(source, names, mmap_mode)
        except SystemError:
            continue
    return _load(source, names, mmap_mode)


def archive(source: Path | bytes, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an archive; as `load`, and a single array is a `ValueError`."""
    arrays = load(source, names=names)
    if not isinstance(arrays, dict):
        raise ValueError("it is a single array, not an archive of them")
    return arrays


def _load(
    source: Path | bytes, names: Collection[str] | None, mmap_mode: Literal["r"] | None
) -> np.ndarray | dict[str, np.ndarray]:
    found: Any = np.load(io.BytesIO(source) if isinstance(source, bytes) else source, mmap_mode, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        return {name: found[name] for name in (found.files if names is None else names)}
