"""Mean ranks over tables: which tables are blocks of one ranking, and Friedman's test over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.comparison.conditions import without
from kdbench.comparison.table import GroupTable
from kdbench.statistics import MIN_BLOCKS, RankComparison, compare_ranks

OF_A_BLOCK = (
    "dataset",
    "version",
    "fingerprint",
    "packed",
    "view",
    "protocol",
    "split",
    "data",
    "test_modalities",
)
"""Conditions that make a block; all others have to be equal."""
FEWEST_METHODS = 3


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over blocks.

    Attributes:
        blocks: The tables, counted from 1, by their titles.
        ranks: Mean ranks and Friedman's test.
    """

    blocks: tuple[tuple[int, str], ...]
    ranks: RankComparison


def rankings(tables: Sequence[GroupTable]) -> tuple[Ranking, ...]:
    """Ranks methods over tables that share no test subject, and so no trained network: data sets, or folds of one.

    Where protocols of a data set test the same subjects, those with fewer subjects are taken, which gives more blocks.
    Folds of one data set train on common subjects; that their networks are alike for it is not seen as chance.

    Returns:
        One for each set of conditions under which at least `MIN_BLOCKS` blocks hold three methods or more in common.
    """
    alike: dict[Hashable, list[tuple[int, GroupTable]]] = defaultdict(list)
    for number, table in enumerate(tables, 1):
        if len(table.ranked) >= FEWEST_METHODS and not table.group.across:
            alike[frozenset(without(table.group.conditions, OF_A_BLOCK).items())].append((number, table))
    possible = (_ranking(_disjoint(candidates)) for candidates in alike.values())
    return tuple(one for one in possible if one)


def _disjoint(candidates: Sequence[tuple[int, GroupTable]]) -> list[tuple[int, GroupTable]]:
    taken: set[tuple[str, str]] = set()
    chosen = []
    # Tables of few subjects first, which leave room for most others.
    for number, table in sorted(candidates, key=lambda one: len(_subjects(one[1]))):
        if taken.isdisjoint(_subjects(table)):
            taken |= _subjects(table)
            chosen.append((number, table))
    return sorted(chosen, key=lambda one: one[0])


def _subjects(table: GroupTable) -> set[tuple[str, str]]:
    names = table.comparison.subjects if table.comparison else ()
    return {(str(table.group.conditions["dataset"]), name) for name in names}


def _ranking(blocks: Sequence[tuple[int, GroupTable]]) -> Ranking | None:
    if len(blocks) < MIN_BLOCKS:
        return None
    means = [{row.method: row.measures[table.metric].mean for row in table.ranked} for _, table in blocks]
    methods = [method for method in means[0] if all(method in block for block in means)]
    if len(methods) < FEWEST_METHODS:
        return None
    ranks = compare_ranks(methods, np.array([[block[method] for block in means] for method in methods]))
    return Ranking(tuple((number, table.group.title) for number, table in blocks), ranks)
