"""A run's stored predictions, a row per trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.errors import DataError
from kdbench.runs.store import StoredRun
from kdbench.runs.tested import tested

AGAIN = "Train that run again: repeat its `kdbench run` command with --fresh."


@dataclass(frozen=True)
class TrialScores:
    """Predictions of the reported part.

    Attributes:
        trials: The N trial ids.
        labels: True classes `(N,)`.
        logits: Scores `(R, N, K)`, one row per shuffle where the network couples the samples of a batch.
        probabilities: Softmax of the scores `(N, K)`, averaged over shuffles.
    """

    trials: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """Predicted classes `(N,)`, of the mean probabilities."""
        return self.probabilities.argmax(1)

    @property
    def truth(self) -> np.ndarray:
        """Probability of the true class `(N,)`."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    @property
    def margin(self) -> np.ndarray:
        """Probability of the true class less that of the likeliest other one `(N,)`: negative where it is wrong."""
        others = self.probabilities.copy()
        # Below any probability, so that the true class is never the likeliest other one.
        others[np.arange(len(self.labels)), self.labels] = -1
        return self.truth - others.max(1)

    def worst(self) -> np.ndarray:
        """Rows of the wrong predictions, the most confident first: by the probability of what was predicted."""
        order = np.argsort(-self.probabilities.max(1), kind="stable")
        return order[self.predicted[order] != self.labels[order]]

    def best(self) -> np.ndarray:
        """Rows of the right predictions, the most confident first, one per class before the second of any."""
        order = np.argsort(-self.margin, kind="stable")
        order = order[self.predicted[order] == self.labels[order]]
        seen: dict[int, int] = {}
        turn = []
        for row in order:
            seen[self.labels[row]] = seen.get(self.labels[row], -1) + 1
            turn.append(seen[self.labels[row]])
        return order[np.argsort(turn, kind="stable")]


def read_scores(run: StoredRun, classes: Sequence[str]) -> TrialScores:
    """Reads `predictions.parquet`, and holds it to the metrics of `run.json`.

    Args:
        run: The run.
        classes: Its K classes.

    Raises:
        DataError: The table is missing, broken, or not of these classes, or gives other metrics.
    """
    from scipy.special import softmax

    try:
        tested(run)
    except DataError as error:
        raise DataError(f"{run.folder}: {error.message}", hint=AGAIN) from error
    table = run.predictions()
    columns = [f"logit_{k}" for k in range(len(classes))]
    missing = [name for name in ("trial", "label", "shuffle", *columns) if name not in table.columns]
    if missing:
        raise DataError(f"{run.folder / 'predictions.parquet'} lacks {', '.join(missing)}", hint=AGAIN)
    table = table.sort_values(["shuffle", "trial"])
    shuffles = [rows for _, rows in table.groupby("shuffle", sort=True)]
    first = shuffles[0]
    logits = np.stack([rows[columns].to_numpy() for rows in shuffles])
    probabilities = softmax(logits.astype(np.float64), axis=-1).mean(0)
    return TrialScores(tuple(first["trial"]), first["label"].to_numpy(), logits, probabilities)
