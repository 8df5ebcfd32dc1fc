"""Removing runs, and the teachers that no run uses: never what lies elsewhere, never what is being made."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench.errors import KdbenchError, UsageError
from kdbench.runs.locks import LOCK, is_locked
from kdbench.runs.naming import is_today
from kdbench.runs.overview import SEARCHES, TEACHERS, RunRow, bytes_of, is_meant
from kdbench.runs.schema import checked
from kdbench.util.files import unwritable
from kdbench.util.records import read_json

_SHORTEST = 4
"""Fewest letters of a run's id that stand for it."""
_TRASH = ".removed-"
"""Beginning of the name that a folder has while it is removed, so that a killed removal leaves no half of a run."""


@dataclass(frozen=True)
class Doomed:
    """One folder that is to go.

    Attributes:
        folder: The folder.
        size_bytes: What it takes.
    """

    folder: Path
    size_bytes: int


def meant(words: Sequence[str], rows: Sequence[RunRow], root: Path) -> list[RunRow]:
    """The runs that some words name, each once.

    Args:
        words: Folders of runs, ends or beginnings of their names, names that the user gave, or patterns of these.
        rows: All runs of the folder.
        root: The folder of runs.

    Raises:
        UsageError: A word that names no run of this folder.
    """
    chosen: dict[Path, RunRow] = {}
    for word in words:
        rows_of = _by_path(word, rows, root) or [row for row in rows if is_meant(row, word)]
        rows_of = rows_of or [row for row in rows if row.folder.name.startswith(word) or _by_id(row, word)]
        rows_of = rows_of or [row for row in rows if is_today(row.folder.name, row.method, word)]
        if not rows_of:
            raise UsageError(f"no run in {root} is called '{word}'", hint=f"See them: kdbench runs list --out {root}")
        chosen |= {row.folder: row for row in rows_of}
    return list(chosen.values())


def unused_teachers(root: Path, without: Sequence[Path] = ()) -> list[Doomed]:
    """The teachers that no run and no search of the folder uses, and that nobody is training.

    A run that is not finished does not say yet which teacher it uses: those of its data set, protocol, preset and seed
    stay.

    Args:
        root: The folder of runs.
        without: Folders of runs that do not count, since they are to go, too.
    """
    used, begun = set[str](), set[str]()
    for path in [*root.glob("*/run.json"), *(root / SEARCHES).rglob("run.json")]:
        if path.parent in without:
            continue
        try:
            result = checked(read_json(path))
            prefix = "-".join(str(result[key]) for key in ("dataset", "protocol", "preset")) + f"-s{result['seed']}-"
        except KdbenchError:
            # What cannot be read may use any of them.
            return []
        teacher = result.get("teacher") or {}
        if result["status"] == "finished":
            reports = [teacher, *(result.get("teachers") or {}).values()]
            used |= {str(one.get("folder")) for report in reports for one in (report, *(report.get("members") or []))}
        # One that is not finished may still use any teacher of its data and its seed.
        else:
            begun.add(prefix)
    for path in (root / SEARCHES).glob("*/search.json"):
        with contextlib.suppress(KdbenchError, TypeError, KeyError):
            used |= set(read_json(path)["teachers"])
    folders = [path for path in sorted((root / TEACHERS).glob("*")) if path.is_dir() and not path.is_symlink()]
    return [
        Doomed(path, bytes_of(path))
        for path in folders
        if path.name not in used and not any(path.name.startswith(start) for start in begun) and not is_locked(path)
    ]


def remove(folders: Sequence[Path], root: Path) -> Iterator[Path]:
    """Removes folders of runs or teachers, one after the other; yields each when it is gone.

    Raises:
        UsageError: One is not a folder of a run or teacher in `root`, or is being made by another process.
        RunFailed: One cannot be removed.
    """
    for folder in folders:
        _check(folder, root)
    for left in [*root.glob(f"{_TRASH}*"), *(root / TEACHERS).glob(f"{_TRASH}*")]:
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    for folder in folders:
        with _held(folder):
            trash = folder.with_name(f"{_TRASH}{uuid.uuid4().hex[:12]}")
            try:
                folder.rename(trash)
                shutil.rmtree(trash)
            except OSError as error:
                raise unwritable(error, folder) from error
        yield folder


def _check(folder: Path, root: Path) -> None:
    inside = folder.resolve().parent in (root.resolve(), (root / TEACHERS).resolve())
    if folder.is_symlink() or not folder.is_dir() or not inside or folder.name in (SEARCHES, TEACHERS):
        raise UsageError(
            f"{folder} is not removed: it is not a folder of a run in {root}",
            hint=f"See its runs: kdbench runs list --out {root}",
        )
    if is_locked(folder):
        raise UsageError(f"{folder} is not removed: another process is making it", hint="Stop that process first.")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{folder} is not removed: another process is making it", hint="Wait for it, or stop it by Ctrl-C."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _by_path(word: str, rows: Sequence[RunRow], root: Path) -> list[RunRow]:
    path = Path(word)
    if len(path.parts) < 2:
        return []
    there = [row for row in rows if row.folder.resolve() == path.resolve()]
    if not there and path.exists():
        raise UsageError(f"{word} is not a run in {root}", hint="Name the folder of its runs: --out FOLDER")
    return there


def _by_id(row: RunRow, word: str) -> bool:
    return len(word) >= _SHORTEST and row.id.startswith(word)
