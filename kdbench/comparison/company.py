"""What a table says of the student alone and of the controls: that they are there, or why they are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdbench.comparison.controls import control_of
from kdbench.comparison.groups import Group
from kdbench.comparison.table import GroupTable
from kdbench.comparison.unlike import told
from kdbench.runs.gain import alone_words, is_alone
from kdbench.text.wording import inflected, ranges, some

Recipe = Mapping[str, Any]
_DIFFERENCES = 3


def company(table: GroupTable, tables: Sequence[GroupTable]) -> list[str]:
    """Notes of a table: what a gain is over and what controls mean; why there is none of either.

    Args:
        table: The table.
        tables: All of the comparison, which may hold what this one lacks.
    """
    taught = [row for row in table.ranked if row.teacher]
    if not taught:
        return []
    others = [other.group for other in tables if other is not table and other.group.place == table.group.place]
    if not any(row.gain for row in taught):
        alone = alone_words(table.group.conditions)
        why = _elsewhere(is_alone, table.group, others)
        return [f"gains are not known, since {why or f'{alone} was not run under these conditions'}"]
    controls = [f"{row.method}: {row.control}" for row in taught if row.control]
    if controls:
        return [f"controls ({'; '.join(controls)}): a gain that they reach too is regularisation, not knowledge"]
    why = _elsewhere(lambda recipe: control_of(recipe) is not None, table.group, others)
    if why:
        return [f"no gain is tested against a control: {why}"]
    return [
        "no control was run: kd with the teacher raw_random or gaf_ft_random, and kd_wrong_trials, would tell whether "
        "a gain is knowledge or regularisation"
    ]


def _elsewhere(sought: Callable[[Recipe], bool], group: Group, others: Sequence[Group]) -> str | None:
    """Where a sought row is, if it is not ranked in its table; None where it was not run at all."""
    waiting = [row for row in group.rows if row not in group.complete and sought(group.recipes[row])]
    if waiting:
        return "; ".join(f"{row} lacks {_lacking(group, row)}" for row in waiting)
    aside = {row: runs for row, runs in group.filtered.items() if sought(runs[0].result["recipe"])}
    if aside:
        named = ", ".join(aside)
        seeds = sorted({run.seed for runs in aside.values() for run in runs})
        at = f"{inflected(len(seeds), 'seed')} {ranges(seeds)}"
        return f"{named} {inflected(len(aside), 'was')} run ({at}) and not asked for"
    for other in others:
        rows = [row for row in other.rows if sought(other.recipes[row])]
        if rows:
            return f"{rows[0]} was run under other conditions: {some(told(group, other), _DIFFERENCES)}"
    return None


def _lacking(group: Group, row: str) -> str:
    return ", ".join(f"seed {seed} ({state})" for seed, state in group.lacking(row).items())
