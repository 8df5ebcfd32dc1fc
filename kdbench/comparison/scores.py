"""What the runs of a group score on each trial, lined up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kdbench.comparison.groups import Group
from kdbench.errors import DataError, UsageError
from kdbench.runs.condensed import Condensed, Keep, scores_of
from kdbench.runs.store import StoredRun, Unreadable
from kdbench.statistics import Scores, paired_scores

_READERS = 2
_AT_A_TIME = 50
"""Runs that a reader takes: to hand over each by itself takes as long as to find it."""


def keep_of(groups: Iterable[Group]) -> Keep:
    """What is known of the predictions of all runs of some groups."""
    return Keep(run for group in groups for by_seed in group.runs.values() for run in by_seed.values())


def read_group(group: Group, keep: Keep) -> dict[str, dict[int, Condensed]]:
    """Reads every run of a group; one that cannot be used is set aside with the reason in its cell.

    Args:
        group: The group.
        keep: What is known of its runs.

    Raises:
        UsageError: Two runs were tested on other trials, or on other labels of the same ones.
    """
    cells = [(row, seed, run) for row, by_seed in group.runs.items() for seed, run in by_seed.items()]
    with ThreadPoolExecutor(_READERS) as pool:
        parts = [cells[begin : begin + _AT_A_TIME] for begin in range(0, len(cells), _AT_A_TIME)]
        read = list(pool.map(lambda part: keep.read_all([run for _, _, run in part]), parts))
    return _read(group, cells, [attempt for part in read for attempt in part], keep)


def _read(
    group: Group, cells: Sequence[tuple[str, int, StoredRun]], attempts: Sequence[Condensed | DataError], keep: Keep
) -> dict[str, dict[int, Condensed]]:
    results: dict[str, dict[int, Condensed]] = {}
    for (row, seed, run), result in zip(cells, attempts, strict=True):
        if isinstance(result, Condensed):
            results.setdefault(row, {})[seed] = result
            continue
        group.set_aside(row, seed, result.message)
        # A repeat of it may be whole, and stands in for it.
        for repeat in group.repeats.get(row, {}).get(seed, []):
            (again,) = keep.read_all([repeat])
            if isinstance(again, Condensed):
                group.replaced.append(Unreadable(run.folder, group.instead(row, seed, repeat)))
                results.setdefault(row, {})[seed] = again
                break
    group.runs = {row: by_seed for row, by_seed in group.runs.items() if by_seed}
    _check_same_trials((f"'{row}', seed {seed}", one) for row, cell in results.items() for seed, one in cell.items())
    return results


def paired(results: dict[str, dict[int, Condensed]], rows: Iterable[str], subjects: np.ndarray, metric: str) -> Scores:
    """Lines up the methods of a group that have a result at every seed."""
    cells = [(row, seed, one) for row in rows for seed, one in results[row].items()]
    lined: dict[str, dict[int, np.ndarray]] = {}
    for (row, seed, _), values in zip(cells, scores_of([one for _, _, one in cells], metric), strict=True):
        lined.setdefault(row, {})[seed] = values
    return paired_scores(lined, subjects, metric=metric)


def _check_same_trials(runs: Iterable[tuple[str, Condensed]]) -> None:
    named = iter(runs)
    first = next(named, None)
    if first is None:
        return
    name, one = first
    for other_name, other in named:
        if not np.array_equal(one.trials, other.trials):
            unlike = sorted(set(one.trials.tolist()) ^ set(other.trials.tolist()))
            raise UsageError(
                f"{name} and {other_name} were tested on other trials: {len(unlike)} are in one of them alone, "
                f"such as {unlike[0]}",
                hint="Train one of them again, on the same data.",
            )
        if not np.array_equal(one.labels, other.labels):
            trial = one.trials[int(np.argmax(one.labels != other.labels))]
            raise UsageError(
                f"{name} and {other_name} disagree on the label of trial {trial}",
                hint="They saw other data: run one of them again on the same, or leave it out: --exclude NAME",
            )
