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

SEEDS_ALIKE = 0.999
"""Correlation of two seeds' logits from which on they are one run; seeds that were trained reach 0.93."""
METHODS_ALIKE = 0.99999
"""As above for two methods at one seed, which share first weights and order of data; trained ones reach 0.97."""
_TRIALS = 64


def copied_seeds(entry: BoardEntry) -> Iterator[str]:
    """Seeds of a submission whose predictions are those of another of its seeds, as problems."""
    seeds = [trained.seed for trained in entry.result.seeds]
    shapes = [_shape(entry, seed) for seed in seeds]
    for place, seed in enumerate(seeds):
        for other in range(place):
            if alike(shapes[other], shapes[place], SEEDS_ALIKE):
                yield f"seeds {seeds[other]} and {seed} have the same predictions: one run cannot be two seeds"
                break


def copied_methods(entries: Sequence[BoardEntry]) -> dict[Path, list[str]]:
    """Submissions whose predictions at a seed are those of a submission with another recipe, as problems by folder."""
    groups: dict[object, list[tuple[BoardEntry, int, np.ndarray]]] = defaultdict(list)
    for entry in entries:
        for trained in entry.result.seeds:
            shape = _shape(entry, trained.seed)
            groups[entry.result.dataset, entry.result.protocol, shape.shape].append((entry, trained.seed, shape))
    problems: dict[Path, list[str]] = defaultdict(list)
    for group in groups.values():
        # A part of the trials tells most pairs apart, at a tenth of the work.
        rows = np.stack([_unit(shape[:_TRIALS]) for _, _, shape in group])
        likeness = np.triu(rows @ rows.T, k=1)
        same = np.array([not row.any() for row in rows])
        candidates = np.argwhere((likeness > METHODS_ALIKE - 1e-3) | np.triu(np.outer(same, same), k=1))
        for first, second in candidates.tolist():
            (one, seed, a), (other, of, b) = group[first], group[second]
            if one.folder == other.folder or one.settings == other.settings or not alike(a, b, METHODS_ALIKE):
                continue
            for own, mine, theirs, its in ((one, seed, other, of), (other, of, one, seed)):
                problems[own.folder].append(
                    f"seed {mine} has the predictions of seed {its} of '{theirs.result.method}' ({theirs.result.id}), "
                    "whose recipe is another"
                )
    return problems


def alike(one: np.ndarray, other: np.ndarray, from_: float) -> bool:
    """Whether two runs' logits are the same, but for scale, shift and a little noise."""
    if one.shape != other.shape:
        return False
    a, b = _unit(one), _unit(other)
    if not a.any() or not b.any():
        # Constant logits: there is nothing to correlate, and trained ones are not equal to the last digit.
        return bool(np.array_equal(one, other))
    return float(a @ b) > from_


def _unit(logits: np.ndarray) -> np.ndarray:
    """Logits without each trial's and each class's mean, as a vector of length 1; zeros where nothing remains."""
    rest = logits - logits.mean(axis=1, keepdims=True)
    rest = (rest - rest.mean(axis=0)).ravel()
    norm = float(np.linalg.norm(rest))
    return rest / norm if norm > 1e-6 * max(1.0, float(np.abs(logits).max())) else np.zeros_like(rest)


def _shape(entry: BoardEntry, seed: int) -> np.ndarray:
    """A seed's logits in the order of its trials, the mean of its shuffles."""
    own = entry.predictions.of_seed(seed)
    shuffles = len(np.unique(own.shuffle))
    return own.logits.reshape(shuffles, -1, own.logits.shape[1]).mean(axis=0, dtype=np.float32)
