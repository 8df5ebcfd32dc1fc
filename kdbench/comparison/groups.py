"""Runs sorted into groups of equal conditions, and within a group into cells: method × seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdbench.comparison.conditions import (
    NOT_RECORDED,
    NOT_USED,
    ConditionDifference,
    Flat,
    differences,
    flat,
    is_below,
    without,
)
from kdbench.comparison.pooling import JOIN
from kdbench.comparison.rows import row_names
from kdbench.comparison.systems import OF_A_NAME, OF_A_SYSTEM, recordings
from kdbench.errors import UsageError, unknown
from kdbench.recipes.track import Track, track_of, words_of
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun, Unreadable
from kdbench.text.wording import counted

NEVER_ACROSS = ("dataset", "protocol", "split", "part", "track", "tuning")
"""Conditions that make a ranking meaningless: other trials or labels, or another budget for hyper-parameters."""
_WHOLE = flat({"track": Track().model_dump()})
"""What a run that names no track was given."""
_BY_SEED = ("split",)
"""Conditions that may depend on the seed, as a drawn validation part does; they are compared seed by seed."""
_HASHES = ("fingerprint", "split")
_WHY = {"tuning": "its budget for tuning decides", "track": "other labels or pairs are another task"}
LIBRARIES = "libraries"
"""Versions of what a run computes with; a library that only one of two runs uses is no difference between them."""
_OF_A_TEACHER = ("track.teacher_labels", "track.teacher_steps")
"""What a track says of teachers: a run without one stands in the tables of either."""
_LOOSE = (LIBRARIES, *_OF_A_TEACHER)
"""Conditions that some runs lack, and then stand with each of those that have them."""


@dataclass
class Group:
    """Runs that may stand in one ranking.

    Attributes:
        conditions: What all have in common, flat.
        runs: Row → seed → the finished run.
        unfinished: Row → seed → status of a run that has no result.
        unusable: Row → seed → why a finished run's result cannot be used.
        across: The unlike conditions that were put together because the user said so: key → row → value.
        repeats: Row → seed → further runs of the same recipe, conditions and seed.
        recipes: Row → its recipe, as one of its runs holds it.
        filtered: Row → runs of these conditions that were not asked for.
        replaced: Unusable runs whose repeats stand in their places.
        shared: What all its recipes have otherwise than kdbench ships them, by dotted key; rows do not name it.
        mark: What sets it apart from other groups of the same data set, protocol and preset; empty without such.
        systems: Whether its rows are whole systems, whose networks, training and sources at test are unlike.
    """

    conditions: Flat
    runs: dict[str, dict[int, StoredRun]] = field(default_factory=dict)
    unfinished: dict[str, dict[int, str]] = field(default_factory=dict)
    unusable: dict[str, dict[int, str]] = field(default_factory=dict)
    across: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: dict[str, dict[int, list[StoredRun]]] = field(default_factory=dict)
    recipes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    filtered: dict[str, list[StoredRun]] = field(default_factory=dict)
    replaced: list[Unreadable] = field(default_factory=list)
    shared: Mapping[str, Any] = field(default_factory=dict)
    mark: str = ""
    systems: bool = False

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
    def place(self) -> str:
        """Data set, protocol, preset and, where it is not the whole training part, the track."""
        return self._placed(words_of(self.conditions))

    def _placed(self, track: str) -> str:
        names = [str(self.conditions.get(key, "?")) for key in ("dataset", "protocol", "preset")]
        if JOIN in names[1]:
            names[1] = f"pooled over {names[1]}"
        return " · ".join(filter(None, [*names, track]))

    @property
    def title(self) -> str:
        """The place, the budget of tuned methods, and what sets it apart from other groups of these; for a heading."""
        return " · ".join(filter(None, [self.place, self.tuned, self.mark]))

    @property
    def short_title(self) -> str:
        """The title with the track as a folder's name has it; for a file's name."""
        return " · ".join(filter(None, [self._placed(track_of(self.conditions).slug), self.tuned, self.mark]))

    @property
    def tuned(self) -> str:
        """The budget under which the settings were searched, in words; empty where they are the recipes' own."""
        trials = self.conditions.get("tuning.trials")
        return f"tuned: {counted(trials, 'trial')}" if isinstance(trials, int) else ""

    def state(self, row: str, seed: int) -> str:
        """What a cell holds: `finished`, or why it holds no result."""
        if seed in self.runs.get(row, {}):
            return FINISHED
        if broken := self.unusable.get(row, {}).get(seed):
            return f"unusable: {broken}"
        aside = any(run.seed == seed for run in self.filtered.get(row, ()))
        return self.unfinished.get(row, {}).get(seed, "not asked for" if aside else "not run")

    def lacking(self, row: str, seeds: Sequence[int] | None = None) -> dict[int, str]:
        """Seed → why a row has no result there: at every seed of the table, and at every other that it was run at.

        Args:
            row: The row.
            seeds: Those of the table, where they are known: to find them, every run is looked at.
        """
        tried = {*self.unfinished.get(row, {}), *self.unusable.get(row, {})}
        wanted = sorted({*(self.seeds if seeds is None else seeds), *tried})
        return {seed: self.state(row, seed) for seed in wanted if seed not in self.runs.get(row, {})}

    def set_aside(self, row: str, seed: int, why: str) -> None:
        """Takes a result out because it cannot be used; its cell says why."""
        del self.runs[row][seed]
        self.unusable.setdefault(row, {})[seed] = why

    def instead(self, row: str, seed: int, run: StoredRun) -> str:
        """Puts a repeat in the place of a run that was set aside; returns why that was."""
        self.repeats[row][seed].remove(run)
        self.runs.setdefault(row, {})[seed] = run
        return self.unusable[row].pop(seed)

    def repeated(self) -> Iterator[Unreadable]:
        """The repeats that no table holds, each with the run that it repeats."""
        for row, cells in self.repeats.items():
            for seed, runs in cells.items():
                kept = self.runs.get(row, {}).get(seed)
                same = f"the same recipe, conditions and seed as {kept.folder.name}" if kept else "a repeat"
                for run in runs:
                    unlike = kept is not None and run.metrics.get("accuracy") != kept.metrics.get("accuracy")
                    yield Unreadable(run.folder, same + (", though not the same result" if unlike else ""))


@dataclass(frozen=True)
class Grouped:
    """What runs were sorted into.

    Attributes:
        groups: Those that hold a finished run, the one with the most finished runs first.
        names: The row of each run, by the run's `id`; every run has one, chosen or not.
        rest: Runs that were asked for and are in no group, since none under their conditions is finished.
    """

    groups: list[Group]
    names: dict[int, str]
    rest: list[StoredRun]


def grouped(
    runs: Iterable[StoredRun],
    across: Sequence[str] = (),
    chosen: Callable[[StoredRun, str], bool] = lambda *_: True,
    *,
    systems: bool = False,
) -> Grouped:
    """Sorts runs by their conditions.

    Args:
        runs: Runs of any state.
        across: Dotted conditions that may differ within a group, with all that lies below them.
        chosen: Whether a run of a row is asked for. Rows have their names from all runs, so that a choice renames none.
        systems: Put whole systems into one group, whatever their networks are and see at test.

    Raises:
        UsageError: A condition that does not exist or that no ranking may cross.
    """
    known = [(run, _said(run)) for run in runs]
    if across:
        _check_across(across, [conditions for _, conditions in known])
    # What makes a system stands in columns of its own, so that names need not tell it.
    beside_names = (*across, *OF_A_NAME) if systems else across
    across = (*across, *OF_A_SYSTEM) if systems else across
    buckets: dict[Hashable, list[tuple[StoredRun, Flat]]] = defaultdict(list)
    for run, conditions in known:
        # Splits and libraries may differ within a table, by rules of their own below.
        buckets[_key(without(conditions, [*across, *_BY_SEED, *_LOOSE]))].append((run, conditions))
    # By identity: a run holds mappings, and has no hash.
    names: dict[int, str] = {}
    parts: list[tuple[list[tuple[StoredRun, Flat]], list[StoredRun], dict[str, Any]]] = []
    rest: list[StoredRun] = []
    sets = (alike for bucket in buckets.values() for alike in _by_loose(bucket, across))
    if systems:
        sets = (seen for alike in sets for seen in _compatible(alike, [recordings(one) for _, one in alike]))
    for part in (part for same in sets for part in _by_split(same)):
        named, shared = row_names(part, beside_names)
        names |= named
        kept = [(run, conditions) for run, conditions in part if chosen(run, names[id(run)])]
        if any(run.status == FINISHED for run, _ in kept):
            parts.append((kept, [run for run, _ in part if not chosen(run, names[id(run)])], shared))
        else:
            rest += [run for run, _ in kept]
    parts.sort(key=lambda part: -sum(run.status == FINISHED for run, _ in part[0]))
    groups = [_group(kept, across, names, others, shared) for kept, others, shared in parts]
    for group in groups:
        group.systems = systems
    return Grouped(groups, names, rest)


def between(first: Group, second: Group) -> tuple[ConditionDifference, ...]:
    """What keeps two groups apart."""
    unlike = differences(*(_WHOLE | group.conditions for group in (first, second)))
    unlike = tuple(one for one in unlike if not (is_below(one.key, (LIBRARIES,)) and NOT_RECORDED in one.values))
    # Hashes tell a person nothing where what they are hashes of is named.
    return tuple(one for one in unlike if one.key not in _HASHES) or unlike


def _said(run: StoredRun) -> Flat:
    """A run's conditions, flat: of a run without a teacher without what its track says of teachers."""
    conditions = flat(run.conditions)
    if _OF_A_TEACHER[0] not in conditions:
        return conditions
    recipe = run.result["recipe"]
    if recipe.get("teacher") or recipe.get("teachers"):
        return {_OF_A_TEACHER[1]: "own", **conditions}
    return without(conditions, _OF_A_TEACHER)


def _by_loose(bucket: list[tuple[StoredRun, Flat]], across: Sequence[str]) -> list[list[tuple[StoredRun, Flat]]]:
    """Parts runs by the conditions that some of them lack, such as the version of a library that only some use."""
    keys = {key for _, conditions in bucket for key in conditions}
    compared = {key for key in keys if is_below(key, _LOOSE) and not is_below(key, across)}
    used = [{key: conditions[key] for key in conditions.keys() & compared} for _, conditions in bucket]
    return _compatible(bucket, used)


def _compatible(bucket: list[tuple[StoredRun, Flat]], used: Sequence[Flat]) -> list[list[tuple[StoredRun, Flat]]]:
    """Parts runs that used something in unlike versions; one that did without it stands with each of them."""
    sets: list[Flat] = []
    # Those that used most first, so that the others fit in with them.
    for one in sorted(used, key=len, reverse=True):
        fitting = next((versions for versions in sets if not _clash(versions, one)), None)
        if fitting is None:
            sets.append(dict(one))
        else:
            fitting |= one
    return [[run for run, one in zip(bucket, used, strict=True) if not _clash(versions, one)] for versions in sets]


def _clash(first: Flat, second: Flat) -> bool:
    return any(first[key] != second[key] for key in first.keys() & second.keys())


def _check_across(across: Sequence[str], conditions: Sequence[Flat]) -> None:
    keys = {key for known in conditions for key in known}
    parts = {".".join(key.split(".")[: n + 1]) for key in keys for n in range(key.count(".") + 1)}
    for key in across:
        if key not in parts:
            raise unknown("condition", key, parts, hint="Conditions stand in each run's run.json.")
        if is_below(key, NEVER_ACROSS):
            why = _WHY.get(key.split(".")[0], "other trials are another task")
            raise UsageError(f"no ranking goes across {key}: {why}", hint="Leave out --allow-different for it.")


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


def _group(
    part: list[tuple[StoredRun, Flat]],
    across: Sequence[str],
    names: Mapping[int, str],
    others: Sequence[StoredRun],
    shared: Mapping[str, Any],
) -> Group:
    first = part[0][1]
    same_split = len({conditions.get("split") for _, conditions in part}) == 1
    keys = dict.fromkeys(key for _, conditions in part for key in conditions)
    loose = {key: recorded[key] for _, recorded in part for key in keys if is_below(key, _LOOSE) and key in recorded}
    group = Group(without(first | loose, across if same_split else [*across, *_BY_SEED]), shared=shared)
    for run in others:
        group.filtered.setdefault(names[id(run)], []).append(run)
    crossed = [key for key in keys if is_below(key, across)]
    absent = {key: NOT_USED if is_below(key, (LIBRARIES,)) else NOT_RECORDED for key in crossed}
    for run, conditions in part:
        row = names[id(run)]
        group.recipes.setdefault(row, run.result["recipe"])
        if run.status != FINISHED:
            group.unfinished.setdefault(row, {})[run.seed] = run.status
            continue
        cells = group.runs.setdefault(row, {})
        if run.seed in cells:
            group.repeats.setdefault(row, {}).setdefault(run.seed, []).append(run)
            continue
        cells[run.seed] = run
        for key in crossed:
            group.across.setdefault(key, {})[row] = conditions.get(key, absent[key])
    group.across = {key: values for key, values in group.across.items() if len(set(values.values())) > 1}
    # What one run has finished is not unfinished, whatever became of another one of the same.
    for row, cells in group.runs.items():
        for seed in cells:
            group.unfinished.get(row, {}).pop(seed, None)
    group.unfinished = {row: cells for row, cells in group.unfinished.items() if cells}
    return group
