"""Runs sorted into groups of equal conditions, and within a group into cells: method × seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.comparison.conditions import Difference, Flat, differences, flat, is_below, shown, without
from kdbench.errors import UsageError, unknown
from kdbench.results.store import FINISHED, StoredRun

NEVER_ACROSS = ("dataset", "protocol", "split", "part", "tuning")
"""Conditions that make a ranking meaningless: other trials, or another budget for choosing hyper-parameters."""
_BY_SEED = ("split",)
"""Conditions that may depend on the seed, as a drawn validation part does; they are compared seed by seed."""
_WORDS = ("summary", "source")
"""Keys of a recipe that change no number."""


@dataclass
class Group:
    """Runs that may stand in one ranking.

    Attributes:
        conditions: What all have in common, flat.
        runs: Row → seed → the finished run.
        unfinished: Row → seed → status of a run that has no result.
        unusable: Row → seed → why a finished run's result cannot be used.
        across: The unlike conditions that were put together because the user said so: key → row → value.
    """

    conditions: Flat
    runs: dict[str, dict[int, StoredRun]] = field(default_factory=dict)
    unfinished: dict[str, dict[int, str]] = field(default_factory=dict)
    unusable: dict[str, dict[int, str]] = field(default_factory=dict)
    across: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[str, ...]:
        """Every method, with or without a result, sorted."""
        return tuple(sorted({*self.runs, *self.unfinished, *self.unusable}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed at which a method has a result, sorted."""
        return tuple(sorted({seed for by_seed in self.runs.values() for seed in by_seed}))

    @property
    def complete(self) -> tuple[str, ...]:
        """The methods with a result at every seed."""
        seeds = set(self.seeds)
        return tuple(row for row in self.rows if seeds and set(self.runs.get(row, {})) >= seeds)

    @property
    def title(self) -> str:
        """Data set, protocol and preset, for a heading."""
        return " · ".join(str(self.conditions.get(key, "?")) for key in ("dataset", "protocol", "preset"))

    def state(self, row: str, seed: int) -> str:
        """What a cell holds: `finished`, or why it holds no result."""
        if seed in self.runs.get(row, {}):
            return FINISHED
        broken = self.unusable.get(row, {}).get(seed)
        return f"unusable: {broken}" if broken else self.unfinished.get(row, {}).get(seed, "not run")

    def set_aside(self, row: str, seed: int, why: str) -> None:
        """Takes a result out because it cannot be used; its cell says why."""
        del self.runs[row][seed]
        self.unusable.setdefault(row, {})[seed] = why


def grouped(runs: Iterable[StoredRun], across: Sequence[str] = ()) -> list[Group]:
    """Sorts runs by their conditions.

    Args:
        runs: Runs of any state.
        across: Dotted conditions that may differ within a group, with all that lies below them.

    Returns:
        The groups that hold a finished run, the one with the most finished runs first.

    Raises:
        UsageError: A condition that does not exist or that no ranking may cross, two runs that claim one cell, or one
            method with unlike recipes.
    """
    known = [(run, flat(run.conditions)) for run in runs]
    if across:
        _check_across(across, [conditions for _, conditions in known])
    buckets: dict[Hashable, list[tuple[StoredRun, Flat]]] = defaultdict(list)
    for run, conditions in known:
        buckets[_key(without(conditions, [*across, *_BY_SEED]))].append((run, conditions))
    parted = [part for bucket in buckets.values() for part in _by_split(bucket)]
    finished = [part for part in parted if any(run.status == FINISHED for run, _ in part)]
    finished.sort(key=lambda part: -sum(run.status == FINISHED for run, _ in part))
    return [_group(part, across) for part in finished]


def between(first: Group, second: Group) -> tuple[Difference, ...]:
    """What keeps two groups apart."""
    return differences(first.conditions, second.conditions)


def _check_across(across: Sequence[str], conditions: Sequence[Flat]) -> None:
    keys = {key for known in conditions for key in known}
    parts = {".".join(key.split(".")[: n + 1]) for key in keys for n in range(key.count(".") + 1)}
    for key in across:
        if key not in parts:
            raise unknown("condition", key, parts, hint="Conditions stand in each run's run.json.")
        if is_below(key, NEVER_ACROSS):
            why = "its budget for tuning decides" if key.startswith("tuning") else "other trials are another task"
            raise UsageError(f"no ranking goes across {key}: {why}", hint="Leave out --across for it.")


def _key(conditions: Flat) -> Hashable:
    return frozenset(conditions.items())


def _by_split(bucket: list[tuple[StoredRun, Flat]]) -> list[list[tuple[StoredRun, Flat]]]:
    """Parts runs whose trials differ at one seed; a split that differs between seeds alone is no difference."""
    by_seed: dict[int, set[Any]] = defaultdict(set)
    for run, conditions in bucket:
        by_seed[run.seed].add(conditions.get("split"))
    if all(len(splits) == 1 for splits in by_seed.values()):
        return [bucket]
    parts: dict[Any, list[tuple[StoredRun, Flat]]] = defaultdict(list)
    for run, conditions in bucket:
        parts[conditions.get("split")].append((run, conditions))
    return list(parts.values())


def _group(part: list[tuple[StoredRun, Flat]], across: Sequence[str]) -> Group:
    first = part[0][1]
    same_split = len({conditions.get("split") for _, conditions in part}) == 1
    common = without(first, across if same_split else [*across, *_BY_SEED])
    group = Group(common)
    names = _row_names(part, across)
    for run, conditions in part:
        row = names[id(run)]
        if run.status != FINISHED:
            group.unfinished.setdefault(row, {})[run.seed] = run.status
            continue
        cells = group.runs.setdefault(row, {})
        if run.seed in cells:
            raise _claimed_twice(row, cells[run.seed], run)
        cells[run.seed] = run
        for key, value in conditions.items():
            if is_below(key, across):
                group.across.setdefault(key, {})[row] = value
    group.across = {key: values for key, values in group.across.items() if len(set(values.values())) > 1}
    for row, cells in group.runs.items():
        _check_one_recipe(row, list(cells.values()))
        for seed in cells:
            group.unfinished.get(row, {}).pop(seed, None)
    group.unfinished = {row: cells for row, cells in group.unfinished.items() if cells}
    return group


def _row_names(part: list[tuple[StoredRun, Flat]], across: Sequence[str]) -> dict[int, str]:
    """The method, with the crossed conditions beside it where it was run under several."""
    values: dict[str, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    for run, conditions in part:
        for key in (key for key in conditions if is_below(key, across)):
            values[run.method][key].add(conditions[key])
    names = {}
    for run, conditions in part:
        varied = [key for key, found in values[run.method].items() if len(found) > 1]
        words = ", ".join(f"{key}={shown(conditions.get(key))}" for key in varied)
        names[id(run)] = f"{run.method} ({words})" if words else run.method
    return names


def _unlike_recipes(first: StoredRun, second: StoredRun) -> tuple[Difference, ...]:
    if first.result["recipe"] == second.result["recipe"]:
        return ()
    return differences(*(without(flat(run.result["recipe"]), _WORDS) for run in (first, second)))


def _claimed_twice(row: str, first: StoredRun, second: StoredRun) -> UsageError:
    unlike = _unlike_recipes(first, second)
    how = f"; their recipes differ in {_named(unlike)}" if unlike else "; their recipes are the same"
    return UsageError(
        f"two runs claim '{row}', seed {first.seed}: {first.folder} and {second.folder}{how}",
        hint="Move one of them out of the folder of runs, or give a changed recipe a name of its own "
        "(a YAML file with `extends:`) and run that.",
    )


def _check_one_recipe(row: str, runs: list[StoredRun]) -> None:
    first = runs[0]
    for other in runs[1:]:
        if unlike := _unlike_recipes(first, other):
            raise UsageError(
                f"the runs of '{row}' are of unlike recipes: {first.folder} and {other.folder} differ in "
                f"{_named(unlike)}",
                hint="Move the runs of one recipe out of the folder of runs, or choose the seeds of the other: --seed",
            )


def _named(unlike: Sequence[Difference]) -> str:
    rest = f" and {len(unlike) - 5} more" if len(unlike) > 5 else ""
    return ", ".join(map(str, unlike[:5])) + rest
