"""Whether methods have the same order in two tables: under another track, another protocol, or tuned."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.comparison.conditions import differences, is_below
from kdbench.comparison.groups import LIBRARIES
from kdbench.comparison.table import GroupTable, Row
from kdbench.recipes.schema import SEARCHED
from kdbench.runs.gain import is_alone
from kdbench.statistics import MIN_METHODS, RankAgreement, rank_agreement

ASKED = ("track", "protocol", "tuning")
"""Conditions of which exactly one differs between two tables whose orders are compared."""
_ALONG = ("split", LIBRARIES, "tuned_under")
"""What may differ besides."""


@dataclass(frozen=True)
class TableAgreement:
    """The order of methods in two tables.

    Attributes:
        first: Number of the one table, from 1.
        second: Number of the other.
        differs: What differs: `track`, `protocol` or `tuning`.
        titles: Headings of both.
        ranks: The rank correlations, over the methods that both have; controls and students alone are none.
    """

    first: int
    second: int
    differs: str
    titles: tuple[str, str]
    ranks: RankAgreement


def agreements(tables: Sequence[GroupTable]) -> tuple[TableAgreement, ...]:
    """Every two tables that differ in one of `ASKED` and in nothing else, with six methods or more in common.

    Args:
        tables: Tables of a comparison.
    """
    candidates = [
        (number, table, scores)
        for number, table in enumerate(tables, 1)
        if not table.group.across and len(scores := _scores(table)) >= MIN_METHODS
    ]
    found = []
    for (number, first, mine), (other, second, theirs) in itertools.combinations(candidates, 2):
        common = [method for method in mine if method in theirs]
        differs = _difference(first, second)
        if differs and first.metric == second.metric and len(common) >= MIN_METHODS:
            a, b = [mine[method] for method in common], [theirs[method] for method in common]
            # Where all score the same there is no order.
            if len(set(a)) > 1 and len(set(b)) > 1:
                titles = first.group.title, second.group.title
                found.append(TableAgreement(number, other, differs, titles, rank_agreement(a, b)))
    return tuple(found)


def _difference(first: GroupTable, second: GroupTable) -> str:
    found = set()
    for one in differences(first.group.conditions, second.group.conditions):
        if is_below(one.key, _ALONG) or SEARCHED in one.values:
            continue
        asked = next((name for name in ASKED if is_below(one.key, (name,))), None)
        if asked is None:
            return ""
        found.add(asked)
    return found.pop() if len(found) == 1 else ""


def _scores(table: GroupTable) -> dict[str, float]:
    return {
        _untuned(table, row): row.measures[table.metric].mean
        for row in table.ranked
        if not row.control and not is_alone(table.group.recipes[row.method])
    }


def _untuned(table: GroupTable, row: Row) -> str:
    """What the row is called where no search chose its settings."""
    run = next(iter(table.group.runs[row.method].values()))
    return str(run.title) if run.result.get("tuning") else row.method
