"""What may be said of a table: an interval for each method, and which pairs can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.leaderboard.entry import Entry
from kdbench.leaderboard.trials import expected
from kdbench.statistics import Comparison, Scope, Scores, compare_scores, paired_scores
from kdbench.statistics.intervals import infer_t

PAIRED = 20
"""The most methods of one matrix: more pairs than 190 leave little after Holm's correction, and no reader."""


@dataclass(frozen=True)
class Statements:
    """Intervals and pairs of one table.

    Attributes:
        intervals: Low and high end for each method; None where they could not be made.
        pairs: The matrix of the best methods, corrected over all of its pairs; None with a single one.
        gains: Every other method against the student alone, corrected over these; None without it.
        beside: Every method against every control, corrected over these; None without controls.
        about: Whom the intervals are about.
        notes: What a reader has to know besides.
    """

    intervals: Sequence[tuple[float, float] | None]
    pairs: Comparison | None
    about: str
    notes: Sequence[str]
    gains: Comparison | None = None
    beside: Comparison | None = None


def stated(
    entries: Sequence[Entry], labels: Sequence[str], alone: str | None = None, controls: Sequence[str] = ()
) -> Statements:
    """Makes the statements about a table; those of gains are the ones that `kdbench compare` makes of the same runs.

    Args:
        entries: Verified submissions under one set of conditions, the best first.
        labels: A name for each, no two alike.
        alone: The label of the student alone, which gains are above.
        controls: The labels of the controls.
    """
    result = entries[0].result
    known = expected(result.dataset, result.protocol, entries[0].options)
    if known is None:
        return Statements([None] * len(entries), None, "", ["Who performed which trial is not known without the data."])
    seeds = min(len(entry.result.seeds) for entry in entries)
    notes = []
    if any(len(entry.result.seeds) > seeds for entry in entries):
        notes.append(f"Intervals and differences use the seeds that all have: 0 to {seeds - 1}.")
    if len(entries) > PAIRED:
        notes.append(f"Differences are shown for the best {PAIRED} methods.")
    try:
        who = [known.subjects[trial] for trial in sorted(known.test)]
        scores = paired_scores(
            {label: correct(entry, seeds) for label, entry in zip(labels, entries, strict=True)}, who
        )
        return _stated(scores, who, notes, alone, controls)
    except KdbenchError as error:
        return Statements([None] * len(entries), None, "", [*notes, f"No interval: {error.message}."])


def _stated(
    scores: Scores, who: Sequence[str], notes: Sequence[str], alone: str | None, controls: Sequence[str]
) -> Statements:
    best = scores.methods[:PAIRED]
    values = dict(zip(best, scores.values[: len(best)], strict=True))
    subset = {label: dict(enumerate(value)) for label, value in values.items()}
    # By t, since the bootstrap of hundreds of pairs takes longer than the rest of the site.
    pairs = compare_scores(paired_scores(subset, who), scope=Scope.THESE_SUBJECTS, way="t")
    found = infer_t(scores, np.eye(len(scores.methods)), Scope.THESE_SUBJECTS)
    ends = [(max(float(low), 0.0), min(float(high), 1.0)) for low, high in zip(found.low, found.high, strict=True)]
    others = [label for label in scores.methods if label != alone]
    gains = beside = None
    if alone is not None and others:
        gains = compare_scores(scores, scope=Scope.THESE_SUBJECTS, way="t", pairs=[(label, alone) for label in others])
        tested = [(label, control) for label in others if label not in controls for control in controls]
        beside = compare_scores(scores, scope=Scope.THESE_SUBJECTS, way="t", pairs=tested) if tested else None
    return Statements(ends, pairs if len(best) > 1 else None, pairs.about, [*notes, *pairs.notes], gains, beside)


def correct(entry: Entry, seeds: int) -> dict[int, np.ndarray]:
    """The share of shuffles in which each trial is right, by seed, the trials sorted by name."""
    held = entry.predictions
    right = (held.logits.argmax(axis=1) == held.label).astype(np.float64)
    found = {}
    for seed in range(seeds):
        rows = held.seed == seed
        _, trial = np.unique(held.trial[rows], return_inverse=True)
        found[seed] = np.bincount(trial, weights=right[rows]) / np.bincount(trial)
    return found
