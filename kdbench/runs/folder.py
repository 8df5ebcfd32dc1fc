"""The folder of one run: what in it is finished and whole, and how a new result takes the place of an old one.

A run that is trained again while a finished result lies in its folder is made in `fresh/` below it. Its own `run.json`
says when it is finished; from then on it is the result, whether its files have been moved up yet or not.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kdbench.errors import DataError, UsageError
from kdbench.runs.schema import FINISHED, checked
from kdbench.runs.store import RESULT
from kdbench.util.files import remove_unfinished, unwritable, whole
from kdbench.util.records import ELSEWHERE, is_sealed, read_json, unlike

FRESH = "fresh"
CHECKPOINT = "checkpoint"
_LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a run's folder, which is made.

    Raises:
        UsageError: Another process holds it.
        RunFailed: It cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another process is making this very run: {folder}",
            hint="Wait for it, or give this one another --seed or --out.",
        ) from None
    except OSError as error:
        raise unwritable(error, folder, elsewhere=ELSEWHERE) from error
    try:
        yield
    finally:
        lock.release()


def finished(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """What a finished run's `run.json` says.

    Args:
        folder: The run's folder.

    Returns:
        The result of a run that is finished and whole, else None; and what is wrong with one that is finished and not
        whole, else None.

    Raises:
        DataError: There is a `run.json`, and it is no result of a run.
    """
    path = folder / RESULT
    if not path.is_file():
        return None, None
    result = dict(checked(read_json(path)))
    if result["status"] != FINISHED:
        return None, None
    if not is_sealed(result):
        return None, f"{path} is not what was written"
    wrong = unlike(folder, result.get("files", {}))
    return (None, "; ".join(wrong)) if wrong else (result, None)


def put_aside(path: Path) -> Path:
    """Renames a file that cannot be used, and returns its new name."""
    aside = path.with_name(f"{path.name}.broken")
    path.replace(aside)
    return aside


def tidy(folder: Path, warn: Callable[[str], None]) -> None:
    """Puts in order what a killed process left; the caller holds the folder's lock.

    Temporary files go, a `run.json` that cannot be read is put aside, and a new result that was finished takes the
    place of the old one.
    """
    fresh = folder / FRESH
    for place in (folder, folder / CHECKPOINT, fresh, fresh / CHECKPOINT):
        remove_unfinished(place)
    for place in (folder, fresh):
        try:
            finished(place)
        except DataError as error:
            aside = put_aside(place / RESULT)
            warn(f"{error.message}; it is kept as {aside.name}, and the run is made again as far as it must be")
    if finished(fresh)[0] is not None:
        replace_by_fresh(folder)
    elif fresh.is_dir() and not (fresh / RESULT).is_file():
        shutil.rmtree(fresh)
    if finished(folder)[0] is not None:
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)


def replace_by_fresh(folder: Path) -> None:
    """Moves the finished result of `fresh/` up; killed at any moment, repeating it completes it.

    Files are copied, `run.json` last, so that one of both places holds a whole result all the time.
    """
    fresh = folder / FRESH
    shutil.rmtree(fresh / CHECKPOINT, ignore_errors=True)
    # run.json comes last: before it, `fresh/` is still the result, and the moving is begun again.
    names = sorted((path.name for path in fresh.iterdir() if path.is_file()), key=lambda name: (name == RESULT, name))
    for name in names:
        with whole(folder / name, elsewhere=ELSEWHERE) as target, (fresh / name).open("rb") as source:
            shutil.copyfileobj(source, target)
    clear(folder, keep={*names, FRESH})
    # First what makes it a result: the removal of the rest may be cut short.
    (fresh / RESULT).unlink()
    shutil.rmtree(fresh)


def clear(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Removes everything but the lock.

    Args:
        folder: The folder; one that is not there is empty.
        keep: Names that stay too.
    """
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if path.name == _LOCK or path.name in keep:
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def remove_empty(folder: Path) -> None:
    """Removes a folder that holds nothing but its lock, if that; the caller holds the lock."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {_LOCK}
    if not names - {_LOCK}:
        shutil.rmtree(folder, ignore_errors=True)
