"""How far an estimate would move with other units and other seeds: two crossed sources of variation.

Every seed is tested on the same trials, so seeds and trials (or subjects) cross, and neither is nested in the other.
With x_ri the score at seed r on unit i,

    x_ri = θ + unit_i + seed_r + rest_ri,      Var(mean) = σ²_unit/n + σ²_seed/R + σ²_rest/(nR).

The spread of the units' means over seeds estimates σ²_unit/n + σ²_rest/(nR), that of the seeds' means over units
σ²_seed/R + σ²_rest/(nR): their sum holds the rest twice, so it is taken off once.

Two or three seeds say little of σ²_seed. So what seeds add beyond the rest, σ²_seed/R, is the mean over all methods
(`_pooled`), or the contrast's own estimate where that is larger: one unstable method widens its own intervals, and no
method narrows those of another below what their own trials and seeds say. What trials add is each contrast's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kdbench.errors import UsageError
from kdbench.statistics.scope import MIN_SUBJECTS, OPTION, Scope
from kdbench.text.wording import counted, inflected

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Contrasts: TypeAlias = "np.ndarray | csr_array"
"""Weights of the methods, `(C, M)`; sparse where there may be thousands of both, nearly all weights 0."""

CHUNK = 1 << 21
"""Scores at a time, so that thousands of pairs need no gigabytes."""

IMAGINED = 2
"""Trials that are imagined to have come out the other way, so that no variance is 0: near the ceiling, a handful of
trials that all favour one method would otherwise prove too much (Bonett and Price, Statistics in Medicine 2012)."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Estimates of C contrasts, and where their variance comes from.

    Attributes:
        estimate: `(C,)`.
        units: `(C,)`: U, the variance over the units (trials within subjects, or subjects), seeds as they are. Never 0.
        unit_df: Degrees of freedom of `units`.
        seeds: `(C,)`: W, the variance over the seeds, trials as they are; 0 with one seed.
        seed_df: Degrees of freedom of `seeds`; 0 with one seed.
        rest: `(C,)`: what U and W both hold.
        mixed: `(C,)`: the variance over the units that drawing units anew reproduces; `units` without what is imagined.
        floor: A spread that knows less of the world, below whose margin this one's cannot be; None without one.
    """

    estimate: np.ndarray
    units: np.ndarray
    unit_df: int
    seeds: np.ndarray
    seed_df: int
    rest: np.ndarray
    mixed: np.ndarray
    floor: Spread | None = None

    @property
    def variance(self) -> np.ndarray:
        """`(C,)`: of the estimates."""
        return self.units + np.maximum(self.seeds - self.rest, 0)


@dataclass(frozen=True, eq=False)
class Subjects:
    """Which trials belong together.

    Attributes:
        order: `(N,)`: sorts the trials by subject.
        starts: Where each subject begins in that order.
        sizes: Trials of each subject.
        names: The subjects, sorted.
    """

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, subjects: np.ndarray) -> Subjects:
        """Groups trials by subject."""
        names, code, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return cls(np.argsort(code, kind="stable"), starts, sizes, tuple(map(str, names)))

    def sums(self, ordered: np.ndarray) -> np.ndarray:
        """Sums `(…, N)`, sorted by subject, to `(…, S)`."""
        return np.add.reduceat(ordered, self.starts, axis=-1)

    def spread_out(self, by_subject: np.ndarray) -> np.ndarray:
        """Repeats `(…, S)` for each trial, `(…, N)`."""
        return np.repeat(by_subject, self.sizes, axis=-1)


def spread_of(values: np.ndarray, contrasts: Contrasts, subjects: Subjects, scope: Scope) -> Spread:
    """Estimates contrasts of methods, and their variance.

    Args:
        values: `(M, R, N)`, the trials in the order of `subjects.order`.
        contrasts: `(C, M)`: one 1 for a method, 1 and −1 for a difference.
        subjects: Which trials belong together.
        scope: Whether trials within subjects vary (`these_subjects`), or the subjects (`new_subjects`; their variance
            is the cluster-robust one of a mean, with the factor S/(S − 1)).

    Raises:
        UsageError: Too few subjects, or a subject with one trial.
    """
    _refuse_too_few(subjects, scope)
    here = _spread(values, contrasts, subjects, Scope.THESE_SUBJECTS) if subjects.sizes.min() > 1 else None
    if scope is Scope.THESE_SUBJECTS and here is not None:
        return here
    return dataclasses.replace(_spread(values, contrasts, subjects, Scope.NEW_SUBJECTS), floor=here)


def _spread(values: np.ndarray, contrasts: Contrasts, subjects: Subjects, scope: Scope) -> Spread:
    runs, trials = values.shape[1:]
    by_seed, mixed, rest = _in_chunks(
        contrasts.shape[0], runs * trials, lambda some: _components(values, contrasts[some], subjects, scope)
    )
    estimate, nothing = by_seed.mean(axis=1), np.zeros_like(mixed)
    within = scope is Scope.THESE_SUBJECTS
    unit_df = trials - len(subjects.names) if within else len(subjects.names) - 1
    units = mixed + IMAGINED / trials**2
    if runs == 1:
        return Spread(estimate, units, unit_df, nothing, 0, nothing, mixed)
    # Contrasts that sum to 0 are differences: what a seed does to all methods alike cancels in them.
    differences = not contrasts.sum(axis=1).any()
    pooled, seed_df = _pooled(values, subjects, scope, differences=differences)
    added = np.maximum(by_seed.var(axis=1, ddof=1) / runs - rest, pooled)
    if within:
        return Spread(estimate, units, unit_df, np.maximum(rest + added, 0), seed_df, rest, mixed)
    # A few subjects know the rest too badly for it to be taken off at the quantiles of theirs.
    return Spread(estimate, units, unit_df, np.maximum(added, 0), seed_df, nothing, mixed)


def _components(
    values: np.ndarray, contrasts: Contrasts, subjects: Subjects, scope: Scope
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each contrast the estimate at every seed `(C, R)`, the variance over units, and σ²_rest/(nR) in it."""
    runs, trials = values.shape[1:]
    x = (contrasts @ values.reshape(len(values), -1)).reshape(-1, runs, trials)
    return _parts(x, subjects, scope)


def _parts(x: np.ndarray, subjects: Subjects, scope: Scope) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of scores `(C, R, N)`."""
    runs = x.shape[1]
    over_seeds = x.mean(axis=1)
    variance_of = _within_subjects if scope is Scope.THESE_SUBJECTS else _between_subjects
    mixed = variance_of(over_seeds, subjects)
    if runs == 1:
        return x.mean(axis=2), mixed, np.zeros_like(mixed)
    rest = variance_of(x - over_seeds[:, None], subjects).sum(axis=1) / ((runs - 1) * runs)
    return x.mean(axis=2), mixed, rest


def _pooled(values: np.ndarray, subjects: Subjects, scope: Scope, *, differences: bool) -> tuple[float, int]:
    """What seeds add beyond the rest to a method's mean, or to a difference of two: the mean of all methods.

    A difference does not see what a seed does to all methods, so that is taken out; the mean over all differences is
    then twice the interaction of methods and seeds.

    Returns:
        The variance, which may be negative, and its degrees of freedom.
    """
    methods, runs = values.shape[:2]
    factor, df = 1.0, methods * (runs - 1)
    if differences and methods > 1:
        values = values - values.mean(axis=0)
        factor, df = 2 * methods / (methods - 1), (methods - 1) * (runs - 1)
    by_seed, _, rest = _in_chunks(methods, values[0].size, lambda some: _parts(values[some], subjects, scope))
    return float(factor * (by_seed.var(axis=1, ddof=1) / runs - rest).mean()), df


def _in_chunks(
    count: int, size: int, of: Callable[[slice], tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is computed of `count` rows of `size` scores, some rows at a time."""
    step = max(1, CHUNK // size)
    parts = [of(slice(begin, begin + step)) for begin in range(0, max(count, 1), step)]
    first, second, third = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, third


def _within_subjects(values: np.ndarray, subjects: Subjects) -> np.ndarray:
    """Variance of the mean of `(…, N)` when each subject's trials are drawn anew: Σ_s n_s s²_s / N²."""
    centred = values - subjects.spread_out(subjects.sums(values) / subjects.sizes)
    squared = subjects.sums(centred**2) * subjects.sizes / (subjects.sizes - 1)
    return squared.sum(axis=-1) / values.shape[-1] ** 2


def _between_subjects(values: np.ndarray, subjects: Subjects) -> np.ndarray:
    """Variance of the mean of `(…, N)` when subjects are drawn anew: S/(S − 1) Σ_s (Σ_{i∈s} (x_i − mean)/N)²."""
    count = len(subjects.names)
    totals = subjects.sums(values - values.mean(axis=-1, keepdims=True)) / values.shape[-1]
    return count / (count - 1) * (totals**2).sum(axis=-1)


def _refuse_too_few(subjects: Subjects, scope: Scope) -> None:
    if scope is Scope.NEW_SUBJECTS and len(subjects.names) < MIN_SUBJECTS:
        raise UsageError(
            f"{counted(len(subjects.names), 'subject')} {inflected(len(subjects.names), 'says', 'say')} too "
            f"little about new ones; at least {MIN_SUBJECTS} are needed",
            hint=f"Take {OPTION} {Scope.THESE_SUBJECTS}, or a protocol that tests more subjects.",
        )
    if scope is Scope.THESE_SUBJECTS and subjects.sizes.min() < 2:
        alone = subjects.names[int(subjects.sizes.argmin())]
        raise UsageError(
            f"subject '{alone}' has one trial; how trials vary within a subject needs two",
            hint=f"Take {OPTION} {Scope.NEW_SUBJECTS}, or leave the subject out.",
        )
