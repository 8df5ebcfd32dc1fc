"""Families of pairs: which are tested in a table, and Holm's correction is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from kdbench.comparison.groups import Group
from kdbench.errors import UsageError, unknown
from kdbench.text.wording import counted

FAMILIES = ("baseline", "all")


@dataclass(frozen=True)
class Family:
    """Which pairs are asked for.

    Attributes:
        kind: `baseline`: each method against one; `all`: each against each.
        baseline: A row, a name or a method; None for the student alone.
    """

    kind: str = "baseline"
    baseline: str | None = None

    def check(self, groups: Sequence[Group]) -> None:
        """Refuses a baseline that no table has.

        Raises:
            UsageError: There is none.
        """
        known = {name for group in groups for row in group.rows for name in _names(group, row)}
        if self.baseline is not None and self.baseline not in known:
            raise unknown(
                "baseline among these runs", self.baseline, known, hint="Take a row of the table: --baseline NAME"
            )

    def over(self, group: Group, rows: Sequence[str], alone: Mapping[str, str]) -> dict[str, str]:
        """What each ranked row is tested against; a row that is missing has nothing.

        Args:
            group: The table's runs.
            rows: Its ranked rows.
            alone: Row → the student alone of the very same conditions.

        Raises:
            UsageError: Several rows bear the baseline's name.
        """
        if self.baseline is None:
            return {row: other for row, other in alone.items() if row != other}
        named = [row for row in rows if row == self.baseline]
        # A row's own name goes before what else its runs are called.
        named = named or [row for row in rows if self.baseline in _names(group, row)]
        if len(named) > 1:
            raise UsageError(
                f"several rows are called '{self.baseline}': {', '.join(named)}",
                hint="Name one of these rows: --baseline ROW",
            )
        return {row: named[0] for row in rows if row != named[0]} if named else {}

    def pairs(self, rows: Sequence[str], over: Mapping[str, str]) -> list[tuple[str, str]]:
        """The pairs to test, the better method first."""
        if self.kind == "all" or not over:
            return list(combinations(rows, 2))
        return [(row, over[row]) for row in rows if row in over]

    def sentence(self, rows: Sequence[str], over: Mapping[str, str], alone: str = "the student alone") -> str:
        """Which pairs are tested, for a reader of the table; `alone` is what gains are over, in words."""
        pairs = self.pairs(rows, over)
        if len(pairs) < 2:
            return f"One pair is tested: {' and '.join(pairs[0])}." if pairs else ""
        every = counted(len(rows) * (len(rows) - 1) // 2, "pair")
        if self.kind == "all":
            return f"Verdicts: every method against every other, Holm's correction over all {every}."
        if not over:
            name = self.baseline or alone
            return f"Verdicts: Holm's correction over all {every}, since {name} has no complete row here."
        overs = set(over.values())
        against = next(iter(overs)) if len(overs) == 1 else "its student alone"
        more = f" All {every}: --family all." if len(rows) > 2 else ""
        return f"Verdicts: every method against {against}, Holm's correction over {counted(len(pairs), 'pair')}.{more}"


def _names(group: Group, row: str) -> set[str]:
    runs = group.runs.get(row, {}).values()
    return {row, *(name for run in runs for name in run.called)}
