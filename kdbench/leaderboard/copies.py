"""Predictions that were copied: one run handed in as several seeds, or one method's as another's.

Two trainings never come to the same logits: seeds begin with other weights, and methods learn by other losses. What is
compared is how each trial's logits lie beside those of the other trials, so that a scaled, shifted or slightly noisy
copy is one too; a copy that is changed further can only be told by training again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from kdbench.leaderboard.entry import BoardEntry
from kdbench.leaderboard.outline import close, unit

SEEDS_ALIKE = 0.999
"""Correlation of two seeds' logits from which on they are one run; seeds that were trained reach 0.93."""
METHODS_ALIKE = 0.99999
"""As above for two methods at one seed, which share first weights and order of data; trained ones reach 0.97."""


def copied_seeds(entry: BoardEntry) -> Iterator[str]:
    """Seeds of a submission whose predictions are those of another of its seeds, as problems."""
    seeds = [trained.seed for trained in entry.result.seeds]
    for place, seed in enumerate(seeds):
        for other in seeds[:place]:
            if _alike(entry.logits(other), entry.logits(seed), entry.unit(other), entry.unit(seed), SEEDS_ALIKE):
                yield f"seeds {other} and {seed} have the same predictions: one run cannot be two seeds"
                break


def copied_methods(entries: Sequence[BoardEntry]) -> dict[Path, list[str]]:
    """Submissions whose predictions at a seed are those of a submission with another recipe, as problems by folder."""
    groups: dict[object, list[tuple[BoardEntry, int]]] = defaultdict(list)
    for entry in entries:
        for trained in entry.result.seeds:
            shape = (len(entry.scored(trained.seed).trials), len(entry.result.classes))
            groups[entry.result.dataset, entry.result.protocol, shape].append((entry, trained.seed))
    problems: dict[Path, list[str]] = defaultdict(list)
    for group in groups.values():
        outlines = np.stack([entry.outline(seed) for entry, seed in group])
        for first, second in close(outlines, METHODS_ALIKE).tolist():
            (one, seed), (other, of) = group[first], group[second]
            if one.folder == other.folder or one.settings == other.settings:
                continue
            if not alike(one.logits(seed), other.logits(of), METHODS_ALIKE):
                continue
            for own, mine, theirs, its in ((one, seed, other, of), (other, of, one, seed)):
                problems[own.folder].append(
                    f"seed {mine} has the predictions of seed {its} of '{theirs.result.method}' ({theirs.result.id}), "
                    "whose recipe is another"
                )
    return problems


def alike(one: np.ndarray, other: np.ndarray, from_: float) -> bool:
    """Whether two runs' logits are the same, but for scale, shift and a little noise."""
    return one.shape == other.shape and _alike(one, other, unit(one), unit(other), from_)


def _alike(one: np.ndarray, other: np.ndarray, a: np.ndarray, b: np.ndarray, from_: float) -> bool:
    if a.shape != b.shape:
        return False
    if not a.any() or not b.any():
        # Constant logits: there is nothing to correlate, and trained ones are not equal to the last digit.
        return bool(np.array_equal(one, other))
    return float(a @ b) > from_
