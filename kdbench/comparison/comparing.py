"""Compares the finished runs of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.comparison.groups import NEVER_ACROSS, Group, between, grouped
from kdbench.comparison.reference import references
from kdbench.comparison.result import Comparison
from kdbench.comparison.scores import read_group
from kdbench.comparison.shape import well_formed
from kdbench.comparison.subjects import known_card, subject_pattern, subjects_of, subjects_train
from kdbench.comparison.table import ABOUT, GroupTable, build_table
from kdbench.errors import DataError, UsageError, unknown
from kdbench.resources import runs_folder
from kdbench.results.store import StoredRun, Unreadable, stored_runs
from kdbench.statistics import Scope
from kdbench.statistics.scope import way_named

if TYPE_CHECKING:
    from kdbench.data.card import Card

PAIRED_BY = ("accuracy", "macro_f1")


def compare(
    out: Path | str | None = None,
    *,
    dataset: str | None = None,
    protocol: str | None = None,
    preset: str | None = None,
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    about: str = "these-subjects",
    metric: str = "accuracy",
    way: str | None = None,
    across: Sequence[str] = (),
    reference: bool = False,
) -> Comparison:
    """Compares methods under equal conditions, on the same trials, at the same seeds; what `kdbench compare` does.

    Args:
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        dataset: Runs on this data set alone.
        protocol: Under this protocol alone.
        preset: At this preset alone.
        methods: These methods alone; they have to be comparable.
        seeds: These seeds alone.
        about: Whom intervals and tests speak of: `these-subjects` (other trials of theirs, other seeds) or
            `new-subjects`.
        metric: What pairs are compared by, `accuracy` or `macro_f1`.
        way: How intervals of differences are made, `bootstrap` or `t`; by default what suits the table.
        across: Dotted conditions that may differ within a table.
        reference: Take published numbers along, to stand beside the tables.

    Raises:
        UsageError: Names that do not exist, named methods that are not comparable, two runs that claim one cell, or a
            scope that the data cannot support.
        DataError: There is no finished run.
    """
    if about not in ABOUT:
        raise unknown("population", about, ABOUT)
    way_named(ABOUT[about], way)
    if metric not in PAIRED_BY:
        raise unknown("metric to compare pairs by", metric, PAIRED_BY)
    root = runs_folder(Path(out) if out is not None else None)
    found, broken = stored_runs(root)
    runs, malformed = well_formed(found)
    broken += malformed
    wanted = _chosen(runs, root, broken, dataset=dataset, protocol=protocol, preset=preset)
    wanted = _named(wanted, methods, seeds)
    groups = grouped(wanted, across)
    if not groups:
        raise _nothing_finished(root, wanted, broken)
    if methods:
        _check_comparable(groups, methods)
    cards = {name: known_card(name) for name in {str(group.conditions["dataset"]) for group in groups}}
    tables = tuple(_table(group, cards, about, metric, way) for group in groups)
    shown = references(dataset) if reference else ()
    return Comparison(about, metric, tables, tuple(broken), tuple(shown))


def _chosen(runs: list[StoredRun], root: Path, broken: Sequence[Unreadable], **wanted: str | None) -> list[StoredRun]:
    if not runs:
        raise _nothing_finished(root, runs, broken)
    for key, value in wanted.items():
        if value is None:
            continue
        known = {str(run.result[key]) for run in runs}
        if value not in known:
            raise unknown(f"{key} among the runs in {root}", value, known)
        runs = [run for run in runs if run.result[key] == value]
    return runs


def _named(runs: list[StoredRun], methods: Sequence[str], seeds: Sequence[int]) -> list[StoredRun]:
    for method in methods:
        known = {run.method for run in runs}
        if method not in known:
            raise unknown("method among these runs", method, known, hint=f"Run it: kdbench run --method {method} …")
    for seed in seeds:
        if seed not in {run.seed for run in runs}:
            raise UsageError(f"no run has seed {seed}", hint="Leave out --seed to see which there are.")
    return [run for run in runs if (not methods or run.method in methods) and (not seeds or run.seed in seeds)]


def _nothing_finished(root: Path, runs: Sequence[StoredRun], broken: Sequence[Unreadable]) -> DataError:
    if not root.is_dir():
        return DataError(
            f"there is no folder of runs {root}", hint="--out FOLDER names it; kdbench run --method … fills it."
        )
    found = [f"{run.folder.name} ({run.status})" for run in runs] + [f"{one.folder.name} ({one.why})" for one in broken]
    rest = f": {', '.join(found[:5])}" + (f" and {len(found) - 5} more" if len(found) > 5 else "") if found else ""
    return DataError(
        f"there is no finished run to compare in {root}{rest}",
        hint="Run some: kdbench run --method student_only --method hinton --dataset NAME --seeds 3",
    )


def _check_comparable(groups: Sequence[Group], methods: Iterable[str]) -> None:
    """Methods that were asked for by name have to stand in one table.

    Raises:
        UsageError: They do not; the conditions that keep them apart are named.
    """
    wanted = set(methods)

    def held(group: Group) -> set[str]:
        return {run.method for cells in group.runs.values() for run in cells.values()}

    if any(wanted <= held(group) for group in groups):
        return
    finished = set().union(*(held(group) for group in groups))
    if absent := sorted(wanted - finished):
        raise DataError(f"no run of {', '.join(absent)} is finished", hint="Repeat its command; it goes on.")
    first = max(groups, key=lambda group: len(wanted & held(group)))
    for name in sorted(wanted - held(first)):
        other = next(group for group in groups if name in held(group))
        unlike = between(first, other)
        keys = list(dict.fromkeys(one.key.split(".")[0] for one in unlike))
        cross = " ".join(f"--across {key}" for key in keys)
        can = not any(key in NEVER_ACROSS for key in keys)
        raise UsageError(
            f"'{name}' was not run under the conditions of {', '.join(sorted(wanted & held(first)))}: "
            f"{', '.join(map(str, unlike[:8]))}" + (f" and {len(unlike) - 8} more" if len(unlike) > 8 else ""),
            hint="Run it under equal conditions" + (f", or rank across them and say so: {cross}" if can else "."),
        )


def _table(group: Group, cards: Mapping[str, Card | None], about: str, metric: str, way: str | None) -> GroupTable:
    """The table of a group.

    Raises:
        UsageError: It cannot be made; the message names it, since the others could be.
    """
    try:
        return _built(group, cards[str(group.conditions["dataset"])], about, metric, way)
    except UsageError as error:
        narrow = "Other tables can be had by --dataset, --protocol, --preset and --method."
        hint = f"{error.hint} {narrow}" if error.hint else narrow
        raise UsageError(f"{group.title}: {error.message}", hint=hint) from error


def _built(group: Group, card: Card | None, about: str, metric: str, way: str | None) -> GroupTable:
    results = read_group(group)
    dataset, protocol = str(group.conditions["dataset"]), str(group.conditions["protocol"])
    one = next((one for cells in results.values() for one in cells.values()), None)
    if one is None:
        return build_table(group, results, np.array([]), about=about, metric=metric, way=way)
    subjects = subjects_of(subject_pattern(card), one.trials.tolist())
    if subjects is None:
        if ABOUT[about] is Scope.NEW_SUBJECTS:
            raise UsageError(
                f"{dataset} does not tell its subjects apart, so nothing can be said of new ones",
                hint="Ask about these: --about these-subjects",
            )
        subjects = np.full(len(one.trials), "all")
    trained = subjects_train(card, protocol)
    return build_table(group, results, subjects, about=about, metric=metric, way=way, trained=trained)
