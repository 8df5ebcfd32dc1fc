"""What a run scores on each trial, from its stored predictions, which prove its metrics."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kdbench.errors import DataError
from kdbench.runs.damage import damaged
from kdbench.runs.store import StoredRun
from kdbench.statistics.scores import MAP, METRICS, average_precision_scores, contributions

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTIONS = "predictions.parquet"
TOLERANCE = 1e-6
_TOGETHER = 8
"""Runs that are scored at once; with more, what is computed of them no longer fits into a processor's cache."""


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
        return _OnDemand(self)


class _OnDemand(dict[str, np.ndarray]):
    """Scores that are computed when they are asked for: a table ranks by one metric, of thousands of runs."""

    def __init__(self, of: Tested) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, metric: str) -> np.ndarray:
        score_together([self._of], [metric])
        return self[metric]


def score_together(ones: Sequence[Tested], metrics: Sequence[str]) -> None:
    """Computes the scores of several runs at once, which takes a part of the time that one after the other does.

    Args:
        ones: Their predictions; those of equal labels and shape are scored together.
        metrics: Which scores.
    """
    groups: dict[tuple[bytes, tuple[int, ...]], list[Tested]] = defaultdict(list)
    for one in ones:
        groups[one.labels.tobytes(), one.logits.shape].append(one)
    for group in groups.values():
        for begin in range(0, len(group), _TOGETHER):
            part = group[begin : begin + _TOGETHER]
            for metric in metrics:
                if metric == MAP:
                    values = average_precision_scores(np.stack([one.logits for one in part]), part[0].labels)
                else:
                    values = contributions(np.stack([one.predicted for one in part]), part[0].labels, metric)
                for one, scores in zip(part, values.mean(axis=1), strict=True):
                    one.scores[metric] = scores


def check_stored(run: StoredRun) -> None:
    """Looks whether a finished run's predictions are those that its metrics are of.

    A `run.json` that is, to the last digit, what the run wrote names them by their hash, which is enough; one that was
    edited, or is older than that, is held to them as `tested` does.

    Raises:
        DataError: As of `tested`.
    """
    if not is_as_written(run):
        tested(run)
    elif not run.file(PREDICTIONS).is_file():
        raise damaged(f"{PREDICTIONS} cannot be read: it is missing")


def is_as_written(run: StoredRun) -> bool:
    """Whether a `run.json` is, to the last digit, what the run wrote, and names the hash of its predictions."""
    return PREDICTIONS in (run.result.get("files") or {}) and run.is_sealed


def tested(run: StoredRun) -> Tested:
    """Reads a run's predictions and holds them to its metrics.

    mAP, which takes longer than all the rest, is left to the hash where `run.json` is as the run wrote it.

    Raises:
        DataError: They are missing, broken or not finite, or they give other metrics than `run.json` says.
    """
    (one,) = tested_all([run])
    if isinstance(one, DataError):
        raise one
    return one


def tested_all(runs: Sequence[StoredRun]) -> list[Tested | DataError]:
    """As `tested`, of several runs, which are scored together; an error stands in the place of a run that has one."""
    read = [_attempt(run) for run in runs]
    score_together([one for one in read if isinstance(one, Tested)], [metric for metric in METRICS if metric != MAP])
    return [_held(run, one) if isinstance(one, Tested) else one for run, one in zip(runs, read, strict=True)]


def _attempt(run: StoredRun) -> Tested | DataError:
    try:
        return _read(run) if run.parts == (run,) else _together([tested(part) for part in run.parts])
    except DataError as error:
        return error


def _held(run: StoredRun, trials: Tested) -> Tested | DataError:
    """A run's predictions, or where they give other metrics than it says."""
    for metric in METRICS:
        claimed = run.metrics.get(metric)
        # What ran before mAP was measured has it in its predictions.
        if metric == MAP and (claimed is None or is_as_written(run)):
            continue
        if not isinstance(claimed, int | float) or not math.isfinite(claimed):
            return damaged(f"its {metric} is {claimed}, expected a number")
        given = float(trials.scores[metric].mean())
        if abs(given - claimed) > TOLERANCE:
            return damaged(f"run.json says {metric} {claimed:.6f}, its predictions give {given:.6f}")
    return trials


def _together(folds: list[Tested]) -> Tested:
    """The predictions of all folds; they have no trial in common."""
    trials = np.concatenate([fold.trials for fold in folds])
    order = np.argsort(trials)
    labels = np.concatenate([fold.labels for fold in folds])
    return Tested(trials[order], labels[order], np.concatenate([fold.logits for fold in folds], axis=1)[:, order])


def _read(run: StoredRun) -> Tested:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Four times as fast as a data frame, and whole, since to name columns takes as long as to read them; a
        # comparison may read thousands.
        table = pq.ParquetFile(pa.BufferReader(run.content(PREDICTIONS))).read(use_threads=False)
        trials, shuffle = table["trial"], _numbers(table["shuffle"])
        labels = _numbers(table["label"])
        logits = np.stack([_numbers(table[name]) for name in table.column_names if name.startswith("logit_")], axis=1)
        stands = _stands(_bytes_of(trials), shuffle.tobytes(), shuffle.dtype.str)
    except FileNotFoundError as error:
        raise damaged(f"{PREDICTIONS} cannot be read: it is missing") from error
    except DataError:
        raise
    except Exception as error:
        raise damaged(f"{PREDICTIONS} cannot be read: {type(error).__name__}: {error}") from error
    if not len(trials):
        raise damaged(f"{PREDICTIONS} holds no trial")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise damaged(f"{PREDICTIONS} has labels that are no class indices")
    if not np.isfinite(logits).all():
        raise damaged(f"{PREDICTIONS} has logits that are not finite")
    if stands is None:
        raise damaged(f"{PREDICTIONS} does not hold each trial once a shuffle")
    names, order = stands
    shuffles, classes = len(order) // len(names), logits.shape[1]
    return Tested(names, labels[order[: len(names)]], logits[order].reshape(shuffles, len(names), classes))


@functools.lru_cache(maxsize=16)
def _stands(trials: tuple[bytes, ...], shuffle: bytes, kind: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Trial ids, sorted, `(N,)`, and the rows by shuffle and then by trial, `(S · N,)`.

    None where not every shuffle holds each trial once. Runs of one table have their rows in one order, which is found
    once for all of them.

    Args:
        trials: The ids, as `_bytes_of` gives them.
        shuffle: The shuffles, as bytes.
        kind: Their type.
    """
    ids, of = np.asarray(_ids_of(trials), dtype=str), np.frombuffer(shuffle, dtype=kind)
    if not len(ids):
        return ids, np.arange(0)
    shuffles = len(np.unique(of))
    order = np.lexsort((ids, of))
    names = ids[order].reshape(shuffles, -1) if len(ids) % shuffles == 0 else None
    if names is None or (names != names[0]).any() or len(np.unique(names[0])) < names.shape[1]:
        return None
    order.flags.writeable = names.flags.writeable = False
    return names[0], order


def _bytes_of(column: pa.ChunkedArray) -> tuple[bytes, ...]:
    """A column of texts as bytes that are equal for equal texts: their number, where each begins, and their signs."""
    import pyarrow as pa

    whole = (
        pa.concat_arrays(column.cast(pa.large_string()).chunks) if column.num_chunks else pa.array([], "large_string")
    )
    _, begins, signs = whole.buffers()
    return str(len(whole)).encode(), bytes(begins or b""), bytes(signs or b"")


def _ids_of(trials: tuple[bytes, ...]) -> list[str]:
    import pyarrow as pa

    count, begins, signs = trials
    ids = pa.LargeStringArray.from_buffers(int(count), pa.py_buffer(begins), pa.py_buffer(signs))
    texts: list[str] = ids.to_pylist()
    return texts


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as an array; `to_numpy` imports pandas, which takes as long as to read a hundred runs."""
    import pyarrow as pa

    whole = not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    if not whole:
        return np.asarray(column.to_numpy())
    if column.num_chunks == 1 and not column.chunk(0).offset:
        # As it lies in memory: a table has dozens of columns, and a comparison thousands of tables.
        return np.frombuffer(column.chunk(0).buffers()[1], column.type.to_pandas_dtype(), len(column))
    return np.from_dlpack(column.combine_chunks())
