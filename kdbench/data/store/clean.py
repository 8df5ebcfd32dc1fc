"""Removing prepared stores: they are made again from the recordings whenever they are needed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import filelock

from kdbench.data.store import layout
from kdbench.data.store.layout import Meta
from kdbench.util import files


@dataclass(frozen=True)
class PreparedStore:
    """A prepared store, or what an interrupted preparation left.

    Attributes:
        folder: Where it lies.
        dataset: Name of the data set.
        meta: What describes it; None where it is not complete.
        bytes: Its size.
        remakable: Whether the recordings are still where they were when it was made.
    """

    folder: Path
    dataset: str
    meta: Meta | None
    bytes: int
    remakable: bool


def prepared_stores(dataset: str | None = None) -> list[PreparedStore]:
    """Everything prepared, the largest first.

    Args:
        dataset: Only of this data set.
    """
    stores = []
    folders = sorted(layout.prepared_dir().glob("*/")) if layout.prepared_dir().is_dir() else []
    for folder in folders:
        meta = layout.read_meta(folder)
        name = meta.key["dataset"] if meta else folder.name.partition("-")[0]
        if dataset not in {None, name}:
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        remakable = meta is None or meta.place == "generated" or Path(meta.place).is_dir()
        stores.append(PreparedStore(folder, str(name), meta, size, remakable))
    return sorted(stores, key=lambda store: -store.bytes)


def remove(store: PreparedStore) -> bool:
    """Removes a store, unless another process is preparing it.

    Runs that have it open keep their data until they end.

    Returns:
        Whether it was removed.

    Raises:
        RunFailed: It cannot be removed.
    """
    lock = filelock.FileLock(f"{store.folder}.lock")
    try:
        with lock.acquire(timeout=0):
            shutil.rmtree(store.folder)
    except filelock.Timeout:
        return False
    except OSError as error:
        raise files.unwritable(error, store.folder, elsewhere="Remove it by hand.") from error
    return True
