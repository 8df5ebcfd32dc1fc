"""All frozen teachers of a student's training, as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.data.loader import Loader
from kdbench.engine.teacher import FrozenTeacher, concatenate, select
from kdbench.types import Batch, Features


class FrozenTeachers:
    """The branches of several frozen networks, one after the other.

    Networks that teach a part of the trials each, those of a cross-fitted teacher, stand beside one another and give
    the branches of one: for each trial, those of the network that teaches it.

    Args:
        networks: The frozen networks.
        taught: The trials that each teaches; None for all of them.
    """

    def __init__(self, networks: Sequence[FrozenTeacher], taught: Sequence[frozenset[str] | None]) -> None:
        self.networks = tuple(networks)
        self._groups: list[list[tuple[FrozenTeacher, frozenset[str] | None]]] = []
        known: set[str] = set()
        for network, trials in zip(networks, taught, strict=True):
            # A fold that overlaps begins another teacher.
            if trials is not None and self._groups and self._groups[-1][0][1] is not None and not trials & known:
                self._groups[-1].append((network, trials))
                known |= trials
            else:
                self._groups.append([(network, trials)])
                known = set(trials or ())

    def __call__(self, batch: Batch, *, seed: int = 0) -> list[Features]:
        """Features of each branch for the batch's trials, in its order; arguments as of `FrozenTeacher`."""
        return [branch for group in self._groups for branch in _of_group(group, batch, seed)]

    def check_unchanged(self) -> None:
        """As of `FrozenTeacher`, for each of them."""
        for network in self.networks:
            network.check_unchanged()

    @torch.no_grad()
    def errors(self, loader: Loader, batch_size: int) -> Tensor:
        """The mean cross-entropy of each branch over the trials that have a label `(branches,)`, float32.

        Args:
            loader: The student's training part.
            batch_size: Trials at a time.
        """
        order = (loader.labels >= 0).nonzero().flatten().cpu()
        sums: Tensor | None = None
        for batch in loader.batches(order, batch_size):
            each = torch.stack(
                [F.cross_entropy(branch.logits.float(), batch.label, reduction="sum") for branch in self(batch)]
            )
            sums = each if sums is None else sums + each
        assert sums is not None
        return sums / len(order)


def _of_group(group: Sequence[tuple[FrozenTeacher, frozenset[str] | None]], batch: Batch, seed: int) -> list[Features]:
    """The branches of one teacher: of its network, or for each trial of the one that teaches it."""
    if len(group) == 1:
        return group[0][0](batch, seed=seed)
    batch = batch.head(batch.paired)
    places, parts = [], []
    for network, trials in group:
        rows = [row for row, trial in enumerate(batch.trial) if trial in (trials or ())]
        if rows:
            places += rows
            index = torch.tensor(rows, device=batch.index.device)
            parts.append(network(batch.rows(index, rows), seed=seed))
    # `places` is a permutation, and argsort its inverse: rows go back to the batch's order.
    back = torch.argsort(torch.tensor(places)).to(batch.index.device)
    return [select(concatenate([part[branch] for part in parts]), back) for branch in range(len(parts[0]))]
