"""Predictions of a trained network, made so that batch mates cannot leak the label."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from kdbench.data.loader import Loader
from kdbench.evaluation.metrics import over_shuffles
from kdbench.network import Network
from kdbench.network.scores import class_scores
from kdbench.types import Batch, Features
from kdbench.util.seeds import seed_for

SHUFFLES = 5


@dataclass(frozen=True)
class Predictions:
    """Class scores of a part.

    Attributes:
        trials: The N trial ids.
        labels: Class indices `(N,)`.
        logits: Scores `(R, N, K)`: R = 1, or one row per shuffle where the network couples the samples of a batch.
        batch_size: Trials in a batch when they were made.
    """

    trials: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    batch_size: int

    def metrics(self, classes: Sequence[str]) -> dict[str, object]:
        """The metrics, averaged over shuffles; per-class values too."""
        return over_shuffles(self.logits, self.labels, classes)

    @property
    def accuracy(self) -> float:
        """Accuracy, averaged over shuffles."""
        return float((self.logits.argmax(-1) == self.labels).mean())


def predict(
    network: Network,
    loader: Loader,
    *,
    batch_size: int,
    accelerator: Accelerator,
    change: Callable[[Batch], Batch] = lambda batch: batch,
    without: Collection[str] = (),
) -> Predictions:
    """Predicts every trial of a loader's part.

    A network that couples the samples of a batch is evaluated in seeded, label-independent shuffles, the partial batch
    kept: in name order the trials are sorted by class, and batch mates would tell the label. A network of several
    branches predicts by the mean of their softmax outputs (its logits are the logarithm of that mean), or, where its
    fusion says so, by that of their logits.

    Args:
        network: The network.
        loader: The part.
        batch_size: Trials in a batch.
        accelerator: Device and precision.
        change: Applied to each batch before the network sees it, to measure what a change of the inputs costs.
        without: Sources that are missing: their encoders see zeros, and heads of their own are not asked.
    """

    def scores(features: list[Features]) -> Tensor:
        return class_scores(network, network.speaking(features, without))

    rows = _passes(network, loader, scores, batch_size, accelerator, change, without=without)
    return Predictions(tuple(loader.trials), loader.labels.cpu().numpy(), rows, batch_size)


def mean_of(each: Sequence[Predictions]) -> Predictions:
    """The log of the mean of the probabilities of several networks; of one network its scores as they are.

    Args:
        each: Their predictions of the same trials; one that was made in a single order meets each order of another.
    """
    first = each[0]
    if len(each) == 1:
        return first
    shares = []
    for one in each:
        share = np.exp(one.logits - one.logits.max(-1, keepdims=True))
        shares.append(share / share.sum(-1, keepdims=True))
    # One network may have been asked once and another in several shuffles.
    mean = np.stack(np.broadcast_arrays(*shares)).mean(0)
    logits = np.log(np.maximum(mean, 1e-12)).astype(first.logits.dtype)
    return Predictions(first.trials, first.labels, logits, first.batch_size)


def embed(
    network: Network, loader: Loader, *, batch_size: int, accelerator: Accelerator, shuffled: bool = True
) -> np.ndarray:
    """The embedding of every trial of a loader's part `(R, N, D)`, float32; those of branches lie side by side.

    R = 1, or one row per shuffle, as in `predict`.

    Args:
        network: The network.
        loader: The part.
        batch_size: Trials in a batch.
        accelerator: Device and precision.
        shuffled: Shuffle where the network couples a batch; otherwise batches are in the loader's order, and R = 1.
    """

    def embeddings(branches: list[Features]) -> Tensor:
        return torch.cat([branch.embedding.float() for branch in branches], dim=1)

    return _passes(network, loader, embeddings, batch_size, accelerator, shuffled=shuffled)


@torch.no_grad()
def _passes(
    network: Network,
    loader: Loader,
    read: Callable[[list[Features]], Tensor],
    batch_size: int,
    accelerator: Accelerator,
    change: Callable[[Batch], Batch] = lambda batch: batch,
    *,
    shuffled: bool = True,
    without: Collection[str] = (),
) -> np.ndarray:
    """What is read of each trial's features, once or once a shuffle: `(R, N, …)`, in the loader's order."""
    was_training = network.training
    network.eval()
    count = len(loader)
    # A trial alone has no mates to be shuffled.
    if shuffled and network.couples_batch and batch_size > 1:
        orders = [_shuffle(count, number) for number in range(SHUFFLES)]
    else:
        orders = [torch.arange(count)]
    rows = []
    for order in orders:
        values = []
        for batch in loader.batches(order, batch_size):
            with accelerator.autocast():
                # As `forward`: a compiled network would need a graph for each size of batch here.
                values.append(read(network.forward(network.lacking(network.represent(change(batch)), without))))
        inverse = torch.argsort(order)
        rows.append(torch.cat(values).cpu()[inverse].numpy())
    network.train(was_training)
    return np.stack(rows)


def _shuffle(count: int, number: int) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed_for("evaluation", number)))
