"""Runs by what a user calls them: a folder, its name or the id at its end, a name given, or the beginning of these."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.runs.naming import is_today
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import RESULT, StoredRun, stored_run, stored_runs
from kdbench.text.wording import counted

_SHOWN = 8
_MORE = "Write more of one, or its id: kdbench runs list"


def find_run(name: str | Path, root: Path) -> StoredRun:
    """The finished run that a user names.

    Args:
        name: As for `find_runs`.
        root: Folder of the runs, where names are looked up.

    Raises:
        UsageError: No run, several runs, or one that is not finished.
        DataError: Its `run.json` is broken or of another version.
    """
    meant = find_runs(name, root)
    if len(meant) > 1:
        listed = _listed([run.folder.name for run in meant])
        raise UsageError(f"{counted(len(meant), 'run')} in {root} are meant by '{name}':\n{listed}", hint=_MORE)
    run = meant[0]
    if run.status != FINISHED:
        raise UsageError(
            f"the run {run.folder.name} is not finished: its status is '{run.status}'",
            hint="Repeat its `kdbench run` command; it goes on where it stopped.",
        )
    return run


def find_runs(name: str | Path, root: Path) -> list[StoredRun]:
    """The runs of any state that a user names, such as all seeds of one name.

    Args:
        name: A run's folder; or the folder's name, the id at its end, the name that it was given, its method, a pattern
            of one of these, or the beginning of a folder's name or id.
        root: Folder of the runs, where names are looked up.

    Raises:
        UsageError: No such run.
        DataError: The `run.json` of the folder that is named is broken or of another version.
    """
    word, root = str(name), Path(root)
    for folder in (Path(name), root / word):
        if (folder / RESULT).is_file():
            return [stored_run(folder)]
    # With a separator in it, it can be meant as a folder alone.
    if Path(name).is_dir() and Path(name).name != word:
        raise UsageError(
            f"{name} is not the folder of a run: it holds no run.json", hint=f"See what is there: ls {name}"
        )
    runs, _ = stored_runs(root)
    if not runs:
        raise UsageError(
            f"there is no run '{name}': {root} holds none",
            hint="Name a run's folder, or the folder of the runs with --out FOLDER.",
        )
    chosen = [run for run in runs if matches(run, word)]
    # A whole name goes before the beginning of another one.
    chosen = chosen or [run for run in runs if run.folder.name.startswith(word) or id_of(run).startswith(word)]
    chosen = chosen or [run for run in runs if is_today(run.folder.name, run.method, word)]
    if chosen:
        return chosen
    names = [run.folder.name for run in runs]
    near = difflib.get_close_matches(word, [*names, *filter(None, (run.label for run in runs))], n=3, cutoff=0.5)
    meant = f"; did you mean\n{_listed(near)}" if near else f". There are {len(names)}:\n{_listed(names)}"
    raise UsageError(
        f"no run in {root} is called '{name}'{meant}", hint=f"See them all: kdbench runs list --out {root}"
    )


def id_of(run: StoredRun) -> str:
    """The id at the end of a run's folder name."""
    return run.folder.name.rpartition("-")[2]


def matches(run: StoredRun, pattern: str) -> bool:
    """Whether a pattern names a run: its folder's name or the id at its end, the name it was given, or its method.

    Args:
        run: A run of any state.
        pattern: A name, in which `*`, `?` and `[…]` stand for any signs, one sign, and one of several.
    """
    names = (run.folder.name, id_of(run), *run.called)
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _listed(names: list[str]) -> str:
    more = [f"… ({len(names) - _SHOWN} more)"] if len(names) > _SHOWN else []
    return "\n".join(f"  {name}" for name in names[:_SHOWN] + more)
