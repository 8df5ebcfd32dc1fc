"""Metrics of a classifier, from its stored logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdbench.statistics.scores import average_precisions, log_probabilities

ECE_BINS = 15


def classification(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, mean_precision: float | None = None
) -> dict[str, Any]:
    """Computes every reported metric; shares lie in [0, 1].

    Args:
        logits: Class scores `(N, K)`, or log-probabilities.
        labels: Class indices `(N,)`.
        classes: The K class names.
        mean_precision: The mAP, where it is known already, since it takes longer than all the rest.

    Returns:
        `accuracy` (equal to micro F1), `macro_f1` over the classes present in the labels, `weighted_f1` (each class by
        its number of trials), `map` (see `mean_average_precision`), `per_class_recall` by class name (None where the
        labels lack the class), `ece`, and `n`.

    Raises:
        ValueError: Shapes that do not fit, no trial, a label outside 0 … K−1, or a logit that is not finite.
    """
    logits, labels = _checked(logits, labels, len(classes))
    predictions = logits.argmax(axis=1)
    # A class without a trial would enter the means as 0.
    present = np.unique(labels)
    hits, support, predicted = (
        np.bincount(of, minlength=len(classes))[present] for of in (labels[predictions == labels], labels, predictions)
    )
    # Every class here has a trial, so that neither is 0 / 0.
    recall, f1 = hits / support, 2 * hits / (support + predicted)
    by_class = dict(zip(present.tolist(), recall.tolist(), strict=True))
    return {
        "n": len(labels),
        "accuracy": float((predictions == labels).mean()),
        "macro_f1": float(np.average(f1)),
        "weighted_f1": float(np.average(f1, weights=support)),
        "map": mean_average_precision(logits, labels) if mean_precision is None else mean_precision,
        "ece": calibration_error(logits, labels),
        "per_class_recall": {name: by_class.get(index) for index, name in enumerate(classes)},
    }


def over_shuffles(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, mean_precision: float | None = None
) -> dict[str, Any]:
    """Every reported metric, averaged over the shuffles that a network which couples a batch is evaluated in.

    Args:
        logits: `(R, N, K)`, one row per shuffle; R = 1 where there is none.
        labels: Class indices `(N,)`.
        classes: The K class names.
        mean_precision: The mAP over all shuffles, where it is known already.

    Returns:
        As `classification`; with `shuffles`, their number, where there are several.

    Raises:
        ValueError: As `classification`.
    """
    rows = [classification(scores, labels, classes, mean_precision=mean_precision) for scores in logits]
    if len(rows) == 1:
        return rows[0]
    mean = {k: float(np.mean([row[k] for row in rows])) if isinstance(v, float) else v for k, v in rows[0].items()}
    recalls = [row["per_class_recall"] for row in rows]
    mean["per_class_recall"] = {
        name: None if first is None else float(np.mean([recall[name] for recall in recalls]))
        for name, first in recalls[0].items()
    }
    return mean | {"shuffles": len(rows)}


def mean_average_precision(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes present in the labels of each one's average precision against all others, in [0, 1].

    Trials are ordered by the class's softmax probability. A class without a trial has no precision, and is left out of
    the mean.

    Args:
        logits: `(N, K)`.
        labels: `(N,)`.
    """
    present = np.unique(labels)
    precisions, _ = average_precisions(log_probabilities(logits)[:, present].T, labels == present[:, None])
    return float(np.mean(precisions))


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error: how far confidence lies from accuracy, in [0, 1].

    The trials are put into equal bins of confidence (the largest softmax probability), each open on the left; ECE is
    the mean over trials of |accuracy − confidence| of their bin (Guo et al., On Calibration of Modern Neural Networks,
    ICML 2017, eq. 3).

    Args:
        logits: `(N, K)`.
        labels: `(N,)`.
        bins: Number of bins.
    """
    from scipy.special import softmax

    probabilities = softmax(logits.astype(np.float64), axis=1)
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    # A bin holds its upper edge, so that a confidence of 1 falls into the last one.
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # The sum of a bin's gaps is its count times the distance of its accuracy from its confidence.
    return float(np.abs(np.bincount(bin_of, weights=gap, minlength=bins)).sum() / len(labels))


def majority_share(labels: np.ndarray) -> float:
    """The accuracy of always naming the most frequent class.

    Args:
        labels: True class indices `(N,)`.
    """
    return float(np.bincount(labels).max() / len(labels))


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Row-normalised confusion matrix `(K, K)`: the share of each true class (row) that was predicted as each class.

    The row of a class that the labels lack is zero.

    Args:
        labels: True class indices `(N,)`.
        predictions: Predicted class indices `(N,)`.
        classes: K.
    """
    counts = np.bincount(np.asarray(labels) * classes + np.asarray(predictions), minlength=classes**2)
    matrix = counts.reshape(classes, classes).astype(np.float64)
    # The row of a class without trials stays 0.
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _checked(logits: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.shape != (len(labels), classes):
        raise ValueError(f"logits are {logits.shape}, expected ({len(labels)}, {classes}): one row per label")
    if not len(labels):
        raise ValueError("there is no trial to evaluate")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    if not np.isfinite(logits).all():
        raise ValueError(f"the logits of row {int(np.argwhere(~np.isfinite(logits))[0, 0])} are not finite")
    return logits, labels


def untested(metrics: Mapping[str, Any]) -> str:
    """What means over classes leave out, in a sentence; empty where every class has a trial.

    Args:
        metrics: As `classification` gives them.
    """
    recalls = metrics["per_class_recall"].values()
    present = sum(recall is not None for recall in recalls)
    if present == len(recalls):
        return ""
    return f"macro F1 and mAP are means over the classes that have a trial in this part, {present} of {len(recalls)}"


def numbers(metrics: Mapping[str, Any]) -> dict[str, int | float]:
    """The metrics that are one number, without those by class."""
    return {key: value for key, value in metrics.items() if isinstance(value, int | float)}
