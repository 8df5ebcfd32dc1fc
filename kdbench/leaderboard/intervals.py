"""What may be said of a table: intervals and gains as `kdbench compare` has them, and a matrix of the best methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.comparison.conditions import flat
from kdbench.comparison.families import Family
from kdbench.comparison.groups import Group
from kdbench.comparison.ranking import build_table
from kdbench.comparison.scores import paired
from kdbench.comparison.subjects import known_card
from kdbench.comparison.table import GroupTable
from kdbench.data.metric import metric_of
from kdbench.errors import KdbenchError
from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.trials import expected
from kdbench.statistics import Scope, ScoreComparison, compare_scores

PAIRED = 20
"""The most methods of one matrix: more pairs than 190 leave little after Holm's correction, and no reader."""


class GainFamily(Family):
    """Every method against the student alone; without it no pair at all, since a board may hold hundreds of methods."""

    def pairs(self, rows: Sequence[str], over: Mapping[str, str]) -> list[tuple[str, str]]:
        """The pairs to test, the better method first."""
        return super().pairs(rows, over) if over else []


@dataclass(frozen=True)
class Intervals:
    """Intervals and pairs of one table.

    Attributes:
        notes: What a reader has to know besides.
        compared: The submissions compared at the seeds that all have; None where nobody can tell.
        pairs: The matrix of the best methods, corrected over all of its pairs; None with a single one.
    """

    notes: Sequence[str]
    compared: GroupTable | None = None
    pairs: ScoreComparison | None = None

    @property
    def about(self) -> str:
        """Whom the intervals are about."""
        return self.compared.about if self.compared else ""

    def of(self, label: str) -> tuple[float, float] | None:
        """Low and high end of a method's accuracy; None where they could not be made."""
        if self.compared is None:
            return None
        accuracy = self.compared.row(label).measures["accuracy"]
        return accuracy.low, accuracy.high

    def verdict(self, label: str) -> str:
        """What a method's gain over the student alone may be called; empty where it was not compared."""
        gain = self.compared.row(label).gain if self.compared else None
        return gain.verdict if gain else ""


def intervals(entries: Mapping[str, BoardEntry]) -> Intervals:
    """Compares the submissions of a table, which are runs of the same trials.

    Args:
        entries: Verified submissions under one set of conditions by their labels, the best first.
    """
    first = next(iter(entries.values()))
    known = expected(first.result.dataset, first.result.protocol, first.options)
    if known is None:
        return Intervals(["Who performed which trial is not known without the data."])
    seeds = range(min(len(entry.result.seeds) for entry in entries.values()))
    notes = []
    if any(len(entry.result.seeds) > len(seeds) for entry in entries.values()):
        notes.append(f"Intervals and differences use the seeds that all have: 0 to {seeds[-1]}.")
    if len(entries) > PAIRED:
        notes.append(f"Differences are shown for the best {PAIRED} methods.")
    group = Group(
        flat(first.result.conditions),
        runs={label: {seed: entry.runs[seed] for seed in seeds} for label, entry in entries.items()},
        recipes={label: entry.runs[0].result["recipe"] for label, entry in entries.items()},
    )
    results = {label: {seed: entry.scored(seed) for seed in seeds} for label, entry in entries.items()}
    subjects = np.array([known.subjects[trial] for trial in sorted(known.test)])
    scope = Scope.THESE_SUBJECTS
    metric = metric_of(known_card(first.result.dataset))
    # By t, since the bootstrap of hundreds of pairs takes longer than the rest of the site.
    try:
        best = paired(results, list(entries)[:PAIRED], subjects, metric)
        pairs = compare_scores(best, scope=scope, way="t")
        compared = build_table(group, results, subjects, population=scope, metric=metric, way="t", family=GainFamily())
    except KdbenchError as error:
        return Intervals([*notes, f"No interval: {error.message}."])
    return Intervals([*notes, *pairs.notes], compared, pairs if len(best.methods) > 1 else None)
