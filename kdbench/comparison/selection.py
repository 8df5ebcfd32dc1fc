"""Which runs of a folder are compared: by their names, and by what they were run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import DataError, KdbenchError, UsageError, unknown
from kdbench.recipes.track import labels_of
from kdbench.registry import registry
from kdbench.runs.find import matches
from kdbench.runs.store import StoredRun, Unreadable, stored_run, stored_runs
from kdbench.text.wording import some


@dataclass(frozen=True)
class RunSelection:
    """What is asked for.

    Attributes:
        runs: Folders of runs, or patterns of folders, names, methods or rows; all where there are none.
        exclude: Patterns of what is left out.
        methods: Methods, names or rows; all where there are none.
        seeds: All where there are none.
    """

    runs: Sequence[str] = ()
    exclude: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def holds(self, run: StoredRun, row: str) -> bool:
        """Whether a run of a row is asked for."""
        return (
            (not self.runs or any(_named(run, row, word) for word in self.runs))
            and not any(_named(run, row, word) for word in self.exclude)
            and (not self.methods or bool({*run.called, row} & set(self.methods)))
            and (not self.seeds or run.seed in self.seeds)
        )

    def check(self, runs: Sequence[StoredRun], rows: Mapping[int, str], root: Path) -> None:
        """Refuses names that no run has.

        Raises:
            UsageError: A method, pattern or seed of which there is no run.
        """
        asked = self.methods or self.runs or self.exclude
        known = {name for run in runs for name in (*run.called, rows[id(run)])} if asked else set()
        for method in self.methods:
            if method not in known:
                there = registry("method").has(method)
                hint = f"Run it: kdbench run --method {method} …" if there else "See them: kdbench runs list"
                raise unknown("method among these runs", method, known, hint=hint)
        for pattern in (*self.runs, *self.exclude):
            if not any(_named(run, rows[id(run)], pattern) for run in runs):
                raise unknown(
                    f"run in {root}",
                    pattern,
                    known,
                    hint="Write the name of a run's folder, its name or its method; * stands for any signs.",
                )
        for seed in self.seeds:
            if seed not in {run.seed for run in runs}:
                raise UsageError(f"no run has seed {seed}", hint="Leave out --seed to see which there are.")


def _named(run: StoredRun, row: str, pattern: str) -> bool:
    return pattern == row or matches(run, pattern)


@dataclass(frozen=True)
class Found:
    """The runs to choose from.

    Attributes:
        runs: Every run that can be read, of any state.
        broken: Those that cannot, with the reasons.
        patterns: What was asked for by name, folders that were read left out.
    """

    runs: list[StoredRun]
    broken: list[Unreadable]
    patterns: tuple[str, ...]


def read_runs(root: Path, asked: Iterable[str]) -> Found:
    """Reads the folder of runs, or the folders that are asked for by their paths.

    Args:
        root: The folder of runs, where names are looked up.
        asked: Folders of runs, folders of many runs, and patterns.
    """
    folders = {one: Path(one) for one in asked if _is_path(one)}
    patterns = tuple(one for one in asked if one not in folders)
    if not folders:
        return Found(*stored_runs(root), patterns)
    runs: dict[Path, StoredRun] = {}
    broken: dict[Path, Unreadable] = {}
    read = [_read(place) for place in folders.values()]
    read += [stored_runs(root)] if patterns else []
    for stored, unreadable in read:
        # By its true place, since a folder may be named in two ways.
        runs |= {run.folder.resolve(): run for run in stored}
        broken |= {one.folder.resolve(): one for one in unreadable}
    named = tuple(
        run.folder.name for run in runs.values() if any(_below(run.folder, folder) for folder in folders.values())
    )
    return Found(list(runs.values()), list(broken.values()), (*patterns, *named))


def _is_path(text: str) -> bool:
    """Whether a folder is meant: one that holds runs, or a path that exists; a bare word may be a method's name."""
    place = Path(text)
    holds = place.is_dir() and ((place / "run.json").is_file() or any(place.glob("*/run.json")))
    return holds or (place.exists() and len(place.parts) > 1)


def _below(folder: Path, place: Path) -> bool:
    return place.resolve() in (folder.resolve(), folder.resolve().parent)


def _read(place: Path) -> tuple[list[StoredRun], list[Unreadable]]:
    if not (place / "run.json").is_file():
        stored, broken = stored_runs(place)
        return stored, broken if stored or broken else [Unreadable(place, "no run.json in it")]
    try:
        return [stored_run(place)], []
    except KdbenchError as error:
        return [], [Unreadable(place, error.message)]


def on(runs: list[StoredRun], root: Path, **wanted: str | None) -> list[StoredRun]:
    """The runs on a data set, under a protocol, at a preset, with labels.

    Args:
        runs: Of which to choose.
        root: Their folder.
        wanted: A value, or None for any, by key: what a result says, or `labels` as the option says it.

    Raises:
        UsageError: There is none.
    """
    for key, value in wanted.items():
        if value is None:
            continue
        found = [_said(run, key) for run in runs]
        if value not in found:
            kind = _CALLED.get(key, key)
            hint = f"No run in {root} has it. See them: kdbench runs list --out {root}"
            raise unknown(kind, value, set(found), hint=hint)
        runs = [run for run, said in zip(runs, found, strict=True) if said == value]
    return runs


_CALLED = {"dataset": "data set", "labels": "value of --labels"}


def _said(run: StoredRun, key: str) -> str:
    return labels_of(run.result["conditions"]) if key == "labels" else str(run.result[key])


def named(runs: list[StoredRun], patterns: Sequence[str], root: Path) -> list[StoredRun]:
    """The runs whose folder, name or method one of the patterns means; all where there are no patterns.

    Raises:
        UsageError: A pattern means none.
    """
    protocols = {str(run.result["protocol"]) for run in runs}
    for pattern in patterns:
        if not any(matches(run, pattern) for run in runs):
            if pattern in protocols:
                raise UsageError(
                    f"'{pattern}' is a protocol of these runs, and names none of them",
                    hint=f"Choose it: --protocol {pattern}. Folds are pooled by an option each: --pool A --pool B",
                )
            raise unknown(
                f"run in {root}",
                pattern,
                {run.label for run in runs} | {run.method for run in runs},
                hint=f"See them: kdbench runs list --out {root}",
            )
    return [run for run in runs if not patterns or any(matches(run, pattern) for pattern in patterns)]


def nothing_finished(root: Path, runs: Sequence[StoredRun], broken: Sequence[Unreadable]) -> DataError:
    """The error where no run can be compared; it says what there is."""
    if not root.is_dir() and not runs and not broken:
        return DataError(
            f"there is no folder of runs {root}", hint="--out FOLDER names it; kdbench run --method … fills it."
        )
    states = [f"{run.folder.name} ({run.status})" for run in runs] + [
        f"{one.folder.name} ({one.why})" for one in broken
    ]
    rest = f": {some(states, 5)}" if states else ""
    return DataError(
        f"there is no finished run to compare in {root}{rest}",
        hint="Run some: kdbench run --method student_only --method kd --dataset NAME --seeds 3",
    )
