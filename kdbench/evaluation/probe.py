"""Probes of a frozen embedding: what a network has learnt, read off by classifiers that are fitted afterwards.

They are fixed: nothing about them is chosen by the data, so that networks can be compared by them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate import Accelerator

from kdbench.data.loader import Loader
from kdbench.evaluation.metrics import numbers
from kdbench.evaluation.predict import Predictions, embed
from kdbench.network import Network

C = 1.0
"""Inverse strength of the L2 penalty of the logistic regression, as scikit-learn has it."""
MAX_ITER = 1000
"""Most iterations of L-BFGS."""
NEIGHBOURS = 5
_SMALLEST = 1e-12
"""Probability of a class that the probe was never shown."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Two classifiers on an embedding that stays as it is.

    The linear probe (Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016) is a
    multinomial logistic regression with an L2 penalty (`C`) on features that are standardised by the training part, in
    float64. The other lets the five nearest training trials by cosine similarity vote (Wu et al., Unsupervised feature
    learning via non-parametric instance discrimination, CVPR 2018, without weights); the first class wins a tie.

    Attributes:
        linear: The fitted pipeline of scikit-learn.
        neighbours: The fitted neighbours.
        classes: K.
        width: D, the width of the embedding.
    """

    linear: Any
    neighbours: Any
    classes: int
    width: int

    @classmethod
    def fit(cls, embeddings: np.ndarray, labels: np.ndarray, classes: int) -> Probe:
        """Fits both on the training part.

        Args:
            embeddings: `(N, D)`.
            labels: Class indices `(N,)`, two or more of them.
            classes: K, which may be more than the labels hold.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        embeddings = np.asarray(embeddings, dtype=np.float64)
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=MAX_ITER))
        with warnings.catch_warnings():
            # That it did not converge stands in the record.
            warnings.simplefilter("ignore", ConvergenceWarning)
            linear.fit(embeddings, labels)
        count = min(NEIGHBOURS, len(labels))
        neighbours = KNeighborsClassifier(count, metric="cosine", algorithm="brute").fit(embeddings, labels)
        return cls(linear, neighbours, classes, embeddings.shape[1])

    @property
    def iterations(self) -> int:
        """How many the logistic regression took; `MAX_ITER` where it did not converge."""
        return int(self.linear[-1].n_iter_.max())

    def linear_scores(self, embeddings: np.ndarray) -> np.ndarray:
        """Log-probabilities `(N, K)` by the logistic regression, for embeddings `(N, D)`."""
        return self._scores(self.linear, embeddings)

    def neighbour_scores(self, embeddings: np.ndarray) -> np.ndarray:
        """Log-shares of the votes `(N, K)`, for embeddings `(N, D)`."""
        return self._scores(self.neighbours, embeddings)

    def _scores(self, model: Any, embeddings: np.ndarray) -> np.ndarray:
        shares = np.zeros((len(embeddings), self.classes))
        shares[:, model.classes_] = model.predict_proba(np.asarray(embeddings, dtype=np.float64))
        return np.log(np.maximum(shares, _SMALLEST))

    def settings(self) -> dict[str, int | float | bool]:
        """How the logistic regression was fitted, for the record."""
        return {
            "C": C,
            "max_iter": MAX_ITER,
            "iterations": self.iterations,
            "converged": self.iterations < MAX_ITER,
            "embedding_width": self.width,
        }


@dataclass(frozen=True)
class Probed:
    """What the probes say of one part.

    Attributes:
        linear: By the logistic regression.
        neighbours: By the five nearest neighbours.
        settings: How the logistic regression was fitted.
    """

    linear: Predictions
    neighbours: Predictions
    settings: dict[str, int | float | bool]

    def record(self, classes: Sequence[str], own: Predictions | None) -> dict[str, Any]:
        """The metrics of each probe, as `run.json` keeps them.

        Args:
            classes: The K class names.
            own: Predictions by the network's own logits; None where nothing trained them.
        """
        return {
            "logistic_regression": numbers(self.linear.metrics(classes)) | self.settings,
            f"cosine_{NEIGHBOURS}nn": numbers(self.neighbours.metrics(classes)),
            "own_logits": None if own is None else numbers(own.metrics(classes)),
        }


def fit_probe(network: Network, train: Loader, *, batch_size: int, classes: int, accelerator: Accelerator) -> Probe:
    """Fits the probes on a network's embedding of the training part, with all of its labels.

    Where batch mates change the embedding, it is the one of the first shuffle.

    Args:
        network: The network; nothing about it changes.
        train: The training part, each trial with its label.
        batch_size: Trials in a batch.
        classes: K.
        accelerator: Device and precision.
    """
    embeddings = embed(network, train, batch_size=batch_size, accelerator=accelerator)
    return Probe.fit(embeddings[0], train.labels.cpu().numpy(), classes)


def probe(probe: Probe, network: Network, part: Loader, *, batch_size: int, accelerator: Accelerator) -> Probed:
    """What fitted probes say of a part.

    Args:
        probe: Of the same network.
        network: The network.
        part: The reported part.
        batch_size: Trials in a batch.
        accelerator: Device and precision.
    """
    embeddings = embed(network, part, batch_size=batch_size, accelerator=accelerator)
    linear, neighbours = (
        Predictions(part.trials, part.labels.cpu().numpy(), np.stack([scores(rows) for rows in embeddings]), batch_size)
        for scores in (probe.linear_scores, probe.neighbour_scores)
    )
    return Probed(linear, neighbours, probe.settings())
