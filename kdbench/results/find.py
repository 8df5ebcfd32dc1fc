"""One run by its folder, or by the beginning of its name."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.results.store import FINISHED, StoredRun, stored_run
from kdbench.wording import counted

_SHOWN = 8


def find_run(name: str | Path, root: Path) -> StoredRun:
    """The finished run that a user names.

    Args:
        name: Its folder, or a beginning of the folder's name that no other run has.
        root: Folder of the runs, where names are looked up.

    Raises:
        UsageError: No run, several runs, or one that is not finished.
        DataError: Its `run.json` is broken or of another version.
    """
    folder = Path(name) if (Path(name) / "run.json").is_file() else _by_beginning(str(name), root)
    run = stored_run(folder)
    if run.status != FINISHED:
        raise UsageError(
            f"the run {run.folder.name} is not finished: its status is '{run.status}'",
            hint="Repeat its `kdbench run` command; it goes on where it stopped.",
        )
    return run


def matches(run: StoredRun, pattern: str) -> bool:
    """Whether a pattern names a run: its folder's name or the id at its end, the name it was given, or its method.

    Args:
        run: A run of any state.
        pattern: A name, in which `*`, `?` and `[…]` stand for any signs, one sign, and one of several.
    """
    names = (run.folder.name, run.folder.name.rpartition("-")[2], run.label, run.method)
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _by_beginning(name: str, root: Path) -> Path:
    if Path(name).is_dir() and Path(name).name != name:
        raise UsageError(
            f"{name} is not the folder of a run: it holds no run.json", hint=f"See what is there: ls {name}"
        )
    names = [path.parent.name for path in sorted(Path(root).glob("*/run.json"))]
    if not names:
        raise UsageError(
            f"there is no run '{name}': {root} holds none",
            hint="Name a run's folder, or the folder of the runs with --out FOLDER.",
        )
    if name in names:
        return Path(root) / name
    found = [each for each in names if each.startswith(name)]
    if len(found) == 1:
        return Path(root) / found[0]
    if found:
        raise UsageError(
            f"{counted(len(found), 'run')} in {root} begin with '{name}':\n{_listed(found)}", hint="Write more of it."
        )
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    meant = f"; did you mean\n{_listed(near)}" if near else f". There are {len(names)}:\n{_listed(names)}"
    raise UsageError(f"no run in {root} begins with '{name}'{meant}", hint="See them all: ls " + str(root))


def _listed(names: list[str]) -> str:
    more = [f"… ({len(names) - _SHOWN} more)"] if len(names) > _SHOWN else []
    return "\n".join(f"  {name}" for name in names[:_SHOWN] + more)
