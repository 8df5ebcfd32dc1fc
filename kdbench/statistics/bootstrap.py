"""The hierarchical paired bootstrap: trials within subjects are resampled, seeds cross them."""

from __future__ import annotations

import numpy as np

from kdbench.statistics.spread import Spread, Subjects

CHUNK = 1 << 18
"""Picks at a time: what fits a core's cache."""


def resampled_deviations(
    values: np.ndarray, subjects: Subjects, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """How far the mean moves when each subject's trials are drawn anew with replacement.

    One draw picks the same trials for every row, which keeps the pairs, and moves every subject's mean by
    √(n_s/(n_s − 1)) as much, so that the variance is that of the sample variance and not (n_s − 1)/n_s of it.

    Args:
        values: `(M, N)`, the trials in the order of `subjects.order`.
        subjects: Which trials belong together.
        draws: B.
        generator: Where the chance comes from.

    Returns:
        `(B, M)`, about 0.
    """
    trials = values.shape[1]
    centred = values - subjects.spread_out(subjects.sums(values) / subjects.sizes)
    centred = centred * subjects.spread_out(np.sqrt(subjects.sizes / (subjects.sizes - 1))) / trials
    step = max(1, CHUNK // trials)
    deviations = np.empty((draws, len(values)))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        picks = np.concatenate(
            [
                generator.integers(first, first + size, (rows, size), dtype=np.intp)
                for first, size in zip(subjects.starts, subjects.sizes, strict=True)
            ],
            axis=1,
        )
        # Each draw gets places of its own, so that one count serves all of them.
        picks += np.arange(rows, dtype=np.intp)[:, None] * trials
        counts = np.bincount(picks.ravel(), minlength=rows * trials).reshape(rows, trials)
        deviations[start : start + rows] = counts.astype(np.float64) @ centred.T
    return deviations


def with_seeds(deviations: np.ndarray, spread: Spread, generator: np.random.Generator) -> np.ndarray:
    """Adds to each draw how far other seeds would move the estimate.

    Two or three seeds cannot be resampled: with three, one draw in nine holds a single seed, the spread comes out at
    (R − 1)/R of what it is, and has none of the tails that few degrees of freedom ask for; on the other hand, a draw
    of both seeds and trials counts what is left of each (seed, trial) twice. So the trials' draws are scaled to their
    own share U − E, and the seeds' part is √W times a draw of Student's t.

    Args:
        deviations: `(C, B)`, of variance `spread.units`.
        spread: The C contrasts.
        generator: Where the chance comes from; one draw is shared by all contrasts.

    Returns:
        `(C, B)`.
    """
    own = np.sqrt(np.maximum(spread.units - spread.rest, 0) / spread.units)
    of_seeds = generator.standard_t(spread.seed_df, deviations.shape[1])
    return deviations * own[:, None] + np.sqrt(spread.seeds)[:, None] * of_seeds
