"""The paired input: what each method scores on each trial at each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kdbench.errors import DataError, UsageError, unknown

MAP = "map"
METRICS = ("accuracy", "macro_f1", "weighted_f1", MAP)
_TABLES = 8
"""How many tables of logits are ordered at once: more no longer fit into a processor's cache."""
UNTOLD = "all"
"""The subject of every trial where a data set does not tell its subjects apart."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of M methods at R seeds on N trials, paired by construction; the mean over the trials is the metric.

    Attributes:
        methods: M names.
        seeds: R seeds, the same for every method.
        values: `(M, R, N)`: 1 or 0 for accuracy, or the share of the shuffles; for another metric what the
            trial contributes.
        subjects: `(N,)`: who performed each trial.
        metric: What the mean over the trials is.

    Raises:
        UsageError: No method, no seed, no trial, two methods of one name, or shapes that do not fit.
        DataError: A score is not finite.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    values: np.ndarray
    subjects: np.ndarray
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        expected = (len(self.methods), len(self.seeds), len(self.subjects))
        if self.values.shape != expected:
            raise UsageError(
                f"scores are {self.values.shape}, expected {expected}: (methods, seeds, trials)",
                hint="Let paired_scores make them, or bring the axes into this order.",
            )
        if 0 in expected:
            raise UsageError(
                f"there is nothing to compare: {expected} methods, seeds and trials", hint="Give at least one of each."
            )
        for kind, names in (("method", self.methods), ("seed", self.seeds)):
            if len(set(names)) < len(names):
                raise UsageError(
                    f"one {kind} is given twice: {', '.join(map(str, names))}", hint=f"Name each {kind} once."
                )
        if not np.isfinite(self.values).all():
            method, seed, trial = np.argwhere(~np.isfinite(self.values))[0]
            raise DataError(
                f"the {self.metric} of '{self.methods[method]}', seed {self.seeds[seed]}, trial {trial} is not finite",
                hint="Run that seed again, or leave the method out.",
            )

    @property
    def binary(self) -> bool:
        """Whether each score says right or wrong, as McNemar's test needs it."""
        return bool(np.isin(self.values, (0, 1)).all())

    @cached_property
    def subject_names(self) -> tuple[str, ...]:
        """The subjects, sorted."""
        return tuple(str(name) for name in np.unique(self.subjects))

    @cached_property
    def by_seed(self) -> np.ndarray:
        """The metric of every method at every seed, `(M, R)`."""
        return self.values.mean(axis=2)


def paired_scores(
    results: Mapping[str, Mapping[int, Any]], subjects: Sequence[Any] | np.ndarray, *, metric: str = "accuracy"
) -> Scores:
    """Lines the methods up, and refuses what is not paired.

    Args:
        results: Method → seed → scores `(N,)`, the trials in one order for all.
        subjects: `(N,)`: who performed each trial.
        metric: What the mean of the scores is.

    Raises:
        UsageError: A method lacks a seed that another has, or has another number of trials; nothing is given.
        DataError: A score is not finite.
    """
    if not results:
        raise UsageError("there is nothing to compare: no method was given", hint="Give {METHOD: {SEED: scores}}.")
    who = np.asarray(subjects)
    if not any(results.values()):
        raise UsageError(
            f"there is nothing to compare: no seed of {', '.join(results)} was given",
            hint="Give {METHOD: {SEED: scores}}.",
        )
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    for method, by_seed in results.items():
        missing = [str(seed) for seed in seeds if seed not in by_seed]
        if missing:
            raise UsageError(
                f"'{method}' lacks seed {', '.join(missing)}, which another method has; a comparison is paired by seed",
                hint="Run the missing seeds, or compare the seeds that all methods have.",
            )
        for seed, scores in by_seed.items():
            if np.shape(scores) != who.shape:
                raise UsageError(
                    f"'{method}', seed {seed}, has scores of shape {np.shape(scores)}, expected {who.shape}: "
                    "one for each trial, the same trials for every method",
                    hint="Keep the trials that all methods have scores of, and the subjects of these.",
                )
    values = np.array([[by_seed[seed] for seed in seeds] for by_seed in results.values()], dtype=np.float64)
    return Scores(tuple(results), tuple(seeds), values, who, metric)


def from_predictions(
    predictions: Mapping[str, Mapping[int, Any]],
    labels: Sequence[int] | np.ndarray,
    subjects: Sequence[Any] | np.ndarray,
    *,
    metric: str = "accuracy",
) -> Scores:
    """Scores predicted classes.

    Args:
        predictions: Method → seed → predicted class indices `(N,)`, the trials in one order for all.
        labels: True class indices `(N,)`.
        subjects: `(N,)`: who performed each trial.
        metric: `accuracy`, `macro_f1` (over the classes present in the labels) or `weighted_f1`.

    Raises:
        UsageError: An unknown metric, one that predicted classes do not give, labels of another shape; otherwise as
            `paired_scores`.
        DataError: A class index is negative; otherwise as `paired_scores`.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS, hint="For example: metric='accuracy'")
    if metric == MAP:
        raise UsageError(
            "mAP needs class probabilities, and predicted classes were given",
            hint="Give paired_scores what average_precision_scores makes of the logits.",
        )
    paired = paired_scores(predictions, subjects, metric=metric)
    truth, predicted = np.asarray(labels), paired.values.astype(np.int64)
    if truth.shape != paired.subjects.shape:
        raise UsageError(
            f"labels are {truth.shape}, expected {paired.subjects.shape}: one for each trial",
            hint="Give the label of each trial, in the order of the subjects.",
        )
    if min(truth.min(), predicted.min()) < 0:
        raise DataError(
            "a label or a prediction is negative, expected class indices from 0 on",
            hint="Number the classes from 0, and leave trials without a label out.",
        )
    values = contributions(predicted, truth, metric)
    return Scores(paired.methods, paired.seeds, values, paired.subjects, metric)


def contributions(predictions: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """What each trial contributes to a metric of predicted classes, so that the mean over the trials is the metric.

    Args:
        predictions: Class indices `(…, N)`.
        labels: Class indices `(N,)`.
        metric: Its name.
    """
    if metric == "accuracy":
        return (predictions == labels).astype(np.float64)
    return {"macro_f1": macro_f1_scores, "weighted_f1": weighted_f1_scores}[metric](predictions, labels)


def macro_f1_scores(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each trial contributes to the macro F1 over the classes present in the labels.

    Macro F1 is not a mean over trials, but near the data it is one to first order. With F_c = 2 TP_c / (N_c + P_c),
    where N_c trials are of class c and P_c are predicted as c, trial i of class y predicted as p contributes

        F + N/C · ([2·1(p = y) − F_y] / (N_y + P_y) − F_p / (N_p + P_p)),

    the macro F1 F over the C present classes plus N times the trial's empirical influence on it (the infinitesimal
    jackknife: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, ch. 6). The last term is absent
    where the labels lack p. The mean over the trials is F itself.

    Args:
        predictions: Class indices `(…, N)`.
        labels: Class indices `(N,)`.

    Returns:
        `(…, N)`; single values may lie outside [0, 1].
    """
    present = np.unique(labels)
    classes = int(max(labels.max(), predictions.max())) + 1
    here = np.zeros(classes)
    here[present] = 1
    flat = predictions.reshape(-1, len(labels))
    rows = np.arange(len(flat))[:, None]
    right = flat == labels

    def counted(of: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        cells = (rows * classes + of).ravel()
        return np.bincount(cells, weights=weights, minlength=len(flat) * classes).reshape(len(flat), classes)

    # A class that is neither true nor predicted has the F1 0, and not 0 / 0.
    either = np.maximum(counted(flat) + np.bincount(labels, minlength=classes), 1)
    f1 = 2 * counted(flat, right.ravel().astype(np.float64)) / either * here
    mean = f1[:, present].mean(axis=1, keepdims=True)
    influence = (2 * right - f1[:, labels]) / either[:, labels] - f1[rows, flat] / either[rows, flat]
    return (mean + len(labels) / len(present) * influence).reshape(predictions.shape)


def weighted_f1_scores(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each trial contributes to the weighted F1, so that the mean over the trials is the weighted F1 itself.

    With shares n_c of true, p_c of predicted and t_c of rightly predicted trials, the weighted F1 is
    Σ_c g_c, g_c = 2 n_c t_c / (n_c + p_c), homogeneous of degree one in the shares. By Euler's theorem it is the mean
    of its derivative along each trial, which is its value plus the trial's empirical influence (as in
    `macro_f1_scores`): for class y predicted as p,

        2 t_y p_y / (n_y + p_y)² − 2 n_p t_p / (n_p + p_p)² + 1(p = y) · 2 n_y / (n_y + p_y).

    Args:
        predictions: Class indices `(…, N)`.
        labels: Class indices `(N,)`.

    Returns:
        `(…, N)`; single values may lie outside [0, 1].
    """
    classes = int(max(labels.max(), predictions.max())) + 1
    true = np.bincount(labels, minlength=classes)
    values = np.empty(predictions.shape)
    for place in np.ndindex(predictions.shape[:-1]):
        predicted = predictions[place]
        given = np.bincount(predicted, minlength=classes)
        right = predicted == labels
        hit = np.bincount(labels[right], minlength=classes)
        either = np.maximum(true + given, 1)
        of_true = 2 * hit * given / either**2
        of_given = 2 * true * hit / either**2
        of_hit = 2 * true / either
        values[place] = of_true[labels] - of_given[predicted] + right * of_hit[labels]
    return values


def average_precision_scores(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each trial contributes to the mAP over the classes present in the labels; the mean over trials is the mAP.

    Trials are ordered by the logarithm of a class's softmax probability. Where trial i has weight w_i, class c's
    average precision is the mean, weighted by w, over its trials of p_i = T_i / A_i: A_i is the weight of the trials
    that score at least as high as i, T_i that of those among them that are of c (ties count as one threshold, as in
    scikit-learn). At equal weights its derivative along trial j, for n_c trials of c, is

        1/n_c · (1(j ∈ c) · [p_j − AP_c + Σ 1/A_i] − Σ T_i/A_i²),

    both sums over the trials i of c that score at most as high as j. As in `macro_f1_scores`, a trial contributes the
    mAP plus N times the mean of these derivatives over the classes: its empirical influence.

    Args:
        logits: `(…, N, K)`, or log-probabilities.
        labels: Class indices `(N,)`.

    Returns:
        `(…, N)`; single values may lie outside [0, 1].
    """
    scores = log_probabilities(logits)
    present, count = np.unique(labels), len(labels)
    own = labels == present[:, None]
    tables = scores.reshape(-1, count, scores.shape[-1])
    values = np.empty(tables.shape[:2])
    for begin in range(0, len(tables), _TABLES):
        some = tables[begin : begin + _TABLES, :, present].swapaxes(1, 2)
        precisions, moved = average_precisions(some.reshape(-1, count), np.tile(own, (len(some), 1)))
        mean, influence = np.zeros((len(some), 1)), np.zeros((len(some), count))
        for place in range(len(present)):
            mean += precisions.reshape(len(some), -1)[:, place, None] / len(present)
            influence += moved.reshape(some.shape)[:, place] / len(present)
        values[begin : begin + _TABLES] = mean + count * influence
    return values.reshape(scores.shape[:-1])


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax over the last axis: it orders as probabilities do, and rounds no small one to 0.

    Args:
        logits: `(…, K)`, or log-probabilities.
    """
    from scipy.special import log_softmax

    scores: np.ndarray = log_softmax(np.asarray(logits, dtype=np.float64), axis=-1)
    return scores


def average_precisions(scores: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each class's average precision and its derivative along each trial's weight; see `average_precision_scores`.

    All classes at once, since a comparison or a board asks for those of thousands of runs.

    Args:
        scores: What orders the trials, `(C, N)`.
        own: Whether a trial is of the class, `(C, N)`; each class has at least one.

    Returns:
        `(C,)` and `(C, N)`.
    """
    # Trials of a tie may come in any order: what follows takes each tie as one.
    order = np.argsort(-scores, axis=1)
    falling = -np.take_along_axis(scores, order, axis=1)
    right = np.take_along_axis(own, order, axis=1).astype(np.float64)
    hits = np.cumsum(right, axis=1)
    first = None
    if (falling[:, 1:] == falling[:, :-1]).any():
        # Tied trials have no order among them: each has all of its tie above it, itself included.
        first, last = _ties(falling)
        above, hits = last.astype(np.float64), np.take_along_axis(hits, last - 1, axis=1)
    else:
        above = np.arange(1.0, scores.shape[1] + 1)
    number = right.sum(axis=1, keepdims=True)
    hit, precision = right * hits, hits / above
    average = (hit / above).sum(axis=1, keepdims=True) / number
    # Sums over the trials of the class that score at most as high.
    gained, lost = (
        sums if first is None else np.take_along_axis(sums, first, axis=1)
        for sums in (np.cumsum(part[:, ::-1], axis=1)[:, ::-1] for part in (right / above, hit / above**2))
    )
    moved = np.empty(scores.shape)
    np.put_along_axis(moved, order, (right * (precision - average + gained) - lost) / number, axis=1)
    return average[:, 0], moved


def _ties(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the tie of each value begins in its row, and where it is over, `(C, N)` each; the rows are ordered."""
    count = ordered.shape[1]
    places = np.arange(count)
    begins = np.ones(ordered.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    # A tie is over where the next one begins.
    ends = np.full(ordered.shape, count)
    ends[:, :-1] = np.where(begins[:, 1:], places[1:], count)
    return first, np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
