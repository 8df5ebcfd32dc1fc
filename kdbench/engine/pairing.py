"""What the draws of a training depend on, and the control in which the trials of a batch change places."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kdbench.types import Batch
from kdbench.util.seeds import seed_for


@dataclass(frozen=True)
class Pairing:
    """Names that the order of the data depends on; the method is not among them, so runs at a seed are paired."""

    dataset: str
    protocol: str
    seed: int

    def seed_of(self, purpose: str, *more: str | int) -> int:
        """Seed for a purpose (`order`, `augment`, …) of this pairing."""
        return seed_for(purpose, self.dataset, self.protocol, self.seed, *more)


def mispaired(batch: Batch, seed: int) -> Batch:
    """The batch with every trial in another one's place; a batch of one trial stays as it is.

    The permutation is a single cycle through all of its trials, drawn from the seed alone.
    """
    count = len(batch)
    way = torch.randperm(count, generator=torch.Generator().manual_seed(seed_for("wrong trials", seed)))
    order = torch.empty_like(way)
    # One cycle through all trials in random order, so that none keeps its place.
    order[way] = way.roll(1)
    device = batch.index.device
    rows = order.pin_memory().to(device, non_blocking=True) if batch.index.is_cuda else order
    chosen = order.tolist()
    # What is known of some rows alone is not known of the others in their places.
    return batch.rows(rows, chosen).replace(labelled=None, paired=None)


def with_series_of_others(batch: Batch, seed: int) -> Batch:
    """The batch with the series of other trials: of those that have sensors, each in the place of `mispaired`.

    Args:
        batch: The student's batch.
        seed: Seed of the permutation, the same as that of the teacher's pairing in the step.
    """
    paired = batch.head(batch.paired)
    # The clips are not asked for, and are far larger than the series.
    others = mispaired(paired.replace(video=None, views={}), seed).sensors
    return batch.replace(
        sensors={name: torch.cat([others[name], series[len(paired) :]]) for name, series in batch.sensors.items()}
    )
