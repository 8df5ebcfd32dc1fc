"""Compares the finished runs of a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.comparison.comparison import Comparison
from kdbench.comparison.families import FAMILIES, Family
from kdbench.comparison.groups import NEVER_ACROSS, Group, between, grouped
from kdbench.comparison.headings import tell_apart
from kdbench.comparison.pooling import pooled, protocols_of
from kdbench.comparison.ranking import build_table
from kdbench.comparison.reference import references
from kdbench.comparison.scores import keep_of, read_group
from kdbench.comparison.selection import RunSelection, named, nothing_finished, on, read_runs
from kdbench.comparison.subjects import known_card, subject_pattern, subjects_of, subjects_train
from kdbench.comparison.table import GroupTable
from kdbench.comparison.unlike import told
from kdbench.data.card import name_of
from kdbench.data.metric import check_metric, metric_of
from kdbench.errors import DataError, UsageError, unknown
from kdbench.runs.condensed import Keep
from kdbench.runs.store import StoredRun, Unreadable
from kdbench.statistics import Scope
from kdbench.statistics.scope import OPTION, scope_named, way_named
from kdbench.statistics.scores import UNTOLD
from kdbench.text.wording import some
from kdbench.util.collecting import without_collecting
from kdbench.util.paths import runs_folder

if TYPE_CHECKING:
    from kdbench.data.card import Card


@without_collecting()
def compare(
    out: Path | str | None = None,
    *,
    runs: Sequence[str | Path] = (),
    exclude: Sequence[str] = (),
    dataset: str | None = None,
    protocol: str | None = None,
    pool: Sequence[str] = (),
    preset: str | None = None,
    labels: str | int | None = None,
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    population: str = Scope.THESE_SUBJECTS,
    baseline: str | None = None,
    family: str = "baseline",
    metric: str | None = None,
    ci: str | None = None,
    allow_different: Sequence[str] = (),
    systems: bool = False,
    reference: bool = False,
    about: str | None = None,
    pairs: str | None = None,
    way: str | None = None,
    across: Sequence[str] = (),
) -> Comparison:
    """Compares methods under equal conditions, on the same trials, at the same seeds; what `kdbench compare` does.

    Args:
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        runs: These alone: folders of runs, or patterns of their folders' names, their names or their methods.
        exclude: Patterns of runs to leave out.
        dataset: Runs on this data set alone.
        protocol: Under this protocol alone.
        pool: Protocols, the folds of a data set, whose test trials stand in one table (`kdbench.comparison.pooling`).
        preset: At this preset alone.
        labels: With these labels of the student alone: `all`, or a number of trials of each class.
        methods: These methods, names or rows alone; they have to be comparable.
        seeds: These seeds alone.
        population: Target population of intervals and tests: `these-subjects` (new trials of theirs, new seeds) or
            `new-subjects`.
        baseline: The row that others are tested against; by default the student alone.
        family: Which pairs are tested, and Holm's correction is over: `baseline`, or `all`.
        metric: What ranks and pairwise tests are by: `accuracy`, `macro_f1`, `weighted_f1` or `map`; by default what
            the card of each table's data set names.
        ci: How intervals of differences are made, `t` (the default) or `bootstrap`.
        allow_different: Dotted conditions that may differ within a table.
        systems: Rank whole systems: their networks, their training and what they see at test may differ within a table,
            which says of each row what it sees and what it is.
        reference: Take published numbers along, to stand beside the tables.
        about: The former name of `population`.
        pairs: The former name of `family`.
        way: The former name of `ci`.
        across: The former name of `allow_different`.

    Raises:
        UsageError: Names that do not exist, named methods that are not comparable, protocols that cannot be pooled, or
            a population that the data cannot support.
        DataError: There is no finished run.
    """
    for former, value, now in (
        ("about", about, "population"),
        ("pairs", pairs, "family"),
        ("way", way, "ci"),
        ("across", across, "allow_different"),
    ):
        if value:
            warnings.warn(f"compare({former}=…) is called {now}=… now", DeprecationWarning, stacklevel=2)
    population, ci, allow_different = about or population, way or ci, across or allow_different
    family = pairs or family
    scope = scope_named(population)
    way_named(scope, ci)
    population = str(scope)
    check_metric(metric)
    if family not in FAMILIES:
        raise unknown("family of pairs", family, FAMILIES, hint="Leave --family out: each method against the baseline.")
    if pool and protocol is not None:
        raise UsageError("--protocol and --pool exclude each other", hint="--pool names every protocol of the table.")
    root = runs_folder(Path(out) if out is not None else None)
    read = read_runs(root, tuple(map(str, runs)))
    # With --pool, patterns choose the folds before they are joined.
    selection = RunSelection(() if pool else read.patterns, tuple(exclude), tuple(methods), tuple(seeds))
    if not read.runs:
        raise nothing_finished(root, read.runs, read.broken)
    dataset = None if dataset is None else name_of(dataset)
    asked = None if labels is None else str(labels)
    wanted = on(read.runs, root, dataset=dataset, protocol=protocol, preset=preset, labels=asked)
    if pool:
        wanted = pooled(named(wanted, read.patterns, root), pool)
    sorted_in = grouped(wanted, allow_different, selection.holds, systems=systems)
    selection.check(wanted, sorted_in.names, root)
    groups = sorted_in.groups
    if not groups:
        raise nothing_finished(
            root, [run for run in wanted if selection.holds(run, sorted_in.names[id(run)])], read.broken
        )
    if methods:
        _check_comparable(groups, methods)
    tell_apart(groups)
    tested = Family(family, baseline)
    tested.check(groups)
    cards = {name: known_card(name) for name in {str(group.conditions["dataset"]) for group in groups}}
    with keep_of(groups) as keep:
        tables = tuple(_table(group, cards, population, metric, ci, tested, keep) for group in groups)
    shown = references(dataset) if reference else ()
    left = [*read.broken, *_without_table(sorted_in.rest)]
    left += [one for group in groups for one in (*group.replaced, *group.repeated())]
    by = metric or " and ".join(dict.fromkeys(table.metric for table in tables))
    return Comparison(population, by, tables, tuple(left), tuple(shown))


def _without_table(runs: Iterable[StoredRun]) -> list[Unreadable]:
    return [Unreadable(run.folder, f"{run.status}, and no run under its conditions is finished") for run in runs]


def _check_comparable(groups: Sequence[Group], methods: Iterable[str]) -> None:
    """Methods that were asked for by name have to stand in tables that hang together.

    Two tables do that share one of the methods, as those of a method with few labels and with all of them do. A method
    that stands in none with another one would be compared with nothing that was asked for.

    Raises:
        UsageError: They do not; the conditions that keep them apart are named.
    """
    wanted = set(methods)

    def held(group: Group) -> set[str]:
        runs = ((row, run) for row, cells in group.runs.items() for run in cells.values())
        return {name for row, run in runs for name in (row, *run.called)}

    first = max(groups, key=lambda group: len(wanted & held(group)))
    found = wanted & held(first)
    while more := set[str]().union(*(held(group) for group in groups if found & held(group))) & wanted - found:
        found |= more
    if found == wanted:
        return
    finished = set().union(*(held(group) for group in groups))
    if absent := sorted(wanted - finished):
        raise DataError(f"no run of {', '.join(absent)} is finished", hint="Repeat its command; it goes on.")
    for name in sorted(wanted - found):
        other = next(group for group in groups if name in held(group))
        unlike = between(first, other)
        keys = list(dict.fromkeys(one.key.split(".")[0] for one in unlike))
        cross = " ".join(f"--allow-different {key}" for key in keys)
        can = not any(key in NEVER_ACROSS for key in keys)
        raise UsageError(
            f"'{name}' was not run under the conditions of {', '.join(sorted(wanted & held(first)))}: "
            f"{some(told(first, other), 8)}",
            hint="Run it under equal conditions" + (f", or rank across them and say so: {cross}" if can else "."),
        )


def _table(
    group: Group,
    cards: Mapping[str, Card | None],
    population: str,
    metric: str | None,
    way: str | None,
    family: Family,
    keep: Keep,
) -> GroupTable:
    """The table of a group.

    Raises:
        UsageError: It cannot be made; the message names it, since the others could be.
    """
    try:
        return _built(group, cards[str(group.conditions["dataset"])], population, metric, way, family, keep)
    except UsageError as error:
        narrow = "See the other tables without its runs: --runs, --exclude, --dataset, --protocol, --preset, --labels."
        hint = f"{error.hint} {narrow}" if error.hint else narrow
        raise UsageError(f"{group.title}: {error.message}", hint=hint) from error


def _built(
    group: Group, card: Card | None, population: str, metric: str | None, way: str | None, family: Family, keep: Keep
) -> GroupTable:
    results = read_group(group, keep)
    dataset = str(group.conditions["dataset"])
    one = next((one for cells in results.values() for one in cells.values()), None)
    known = subjects_of(subject_pattern(card), one.trials.tolist()) if one else None
    subjects = np.array([]) if known is None else known
    if one and known is None:
        if population == Scope.NEW_SUBJECTS:
            raise UsageError(
                f"{dataset} does not tell its subjects apart, so nothing can be said of new ones",
                hint=f"Ask about these: {OPTION} {Scope.THESE_SUBJECTS}",
            )
        subjects = np.full(len(one.trials), UNTOLD)
    return build_table(
        group,
        results,
        subjects,
        population=population,
        metric=metric_of(card, metric),
        way=way,
        family=family,
        trained=any(subjects_train(card, protocol) for protocol in protocols_of(group.conditions)),
    )
