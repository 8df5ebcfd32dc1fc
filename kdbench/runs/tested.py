"""What a run scores on each trial, from its stored predictions, which prove its metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kdbench.errors import DataError
from kdbench.runs.store import StoredRun
from kdbench.statistics.scores import MAP, METRICS, average_precision_scores, contributions

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Tested:
    """A run's predictions.

    Attributes:
        trials: Trial ids, sorted, `(N,)`.
        labels: True classes `(N,)`.
        logits: Class scores `(S, N, K)`; S > 1 shuffles where batch mates change a prediction.
    """

    trials: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predicted classes `(S, N)`."""
        predicted: np.ndarray = self.logits.argmax(axis=-1)
        return predicted

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Metric → what each trial contributes to it, `(N,)`, averaged over shuffles; its mean is the metric."""
        by_class = [metric for metric in METRICS if metric != MAP]
        scores = {metric: contributions(self.predicted, self.labels, metric) for metric in by_class}
        scores[MAP] = average_precision_scores(self.logits, self.labels)
        return {metric: values.mean(axis=0) for metric, values in scores.items()}


def tested(run: StoredRun) -> Tested:
    """Reads a run's predictions and holds them to its metrics.

    Raises:
        DataError: They are missing, broken or not finite, or they give other metrics than `run.json` says.
    """
    trials = _read(run) if run.parts == (run,) else _together([tested(part) for part in run.parts])
    for metric in METRICS:
        claimed = run.metrics.get(metric)
        if metric == MAP and claimed is None:
            # What ran before it was measured has it in its predictions.
            continue
        if not isinstance(claimed, int | float) or not math.isfinite(claimed):
            raise DataError(f"its {metric} is {claimed}, expected a number")
        given = float(trials.scores[metric].mean())
        if abs(given - claimed) > TOLERANCE:
            raise DataError(f"run.json says {metric} {claimed:.6f}, its predictions give {given:.6f}")
    return trials


def _together(folds: list[Tested]) -> Tested:
    """The predictions of all folds; they have no trial in common."""
    trials = np.concatenate([fold.trials for fold in folds])
    order = np.argsort(trials)
    labels = np.concatenate([fold.labels for fold in folds])
    return Tested(trials[order], labels[order], np.concatenate([fold.logits for fold in folds], axis=1)[:, order])


def _read(run: StoredRun) -> Tested:
    import pyarrow.parquet as pq

    path = run.file("predictions.parquet")
    try:
        # Four times as fast as a data frame; a comparison may read hundreds.
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
        trials = np.asarray(table["trial"].to_pylist(), dtype=str)
        labels, shuffle = (_numbers(table[name]) for name in ("label", "shuffle"))
        logits = np.stack([_numbers(table[name]) for name in table.column_names if name.startswith("logit_")], axis=1)
    except FileNotFoundError as error:
        raise DataError(f"{path.name} cannot be read: it is missing") from error
    except Exception as error:
        raise DataError(f"{path.name} cannot be read: {type(error).__name__}: {error}") from error
    if not len(trials):
        raise DataError(f"{path.name} holds no trial")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(f"{path.name} has labels that are no class indices")
    if not np.isfinite(logits).all():
        raise DataError(f"{path.name} has logits that are not finite")
    shuffles = len(np.unique(shuffle))
    # By shuffle, then by trial: the rows of every run stand in one order.
    order = np.lexsort((trials, shuffle))
    names = trials[order].reshape(shuffles, -1) if len(trials) % shuffles == 0 else None
    if names is None or (names != names[0]).any() or len(np.unique(names[0])) < names.shape[1]:
        raise DataError(f"{path.name} does not hold each trial once a shuffle")
    return Tested(names[0], labels[order].reshape(shuffles, -1)[0], logits[order].reshape(shuffles, names.shape[1], -1))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as an array; `to_numpy` imports pandas, which takes as long as to read a hundred runs."""
    import pyarrow as pa

    whole = not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    return np.from_dlpack(column.combine_chunks()) if whole else column.to_numpy()
