"""Batches that are computed in parts, one after the other, for a smaller memory: `train.accumulate`.

The gradients of the parts are added up, weighted by their trials, and the optimizer moves once. That is the step of the
whole batch only where every term over a batch is the mean of what it is over its parts. Nothing says so of a loss: it
is tried, on random features, before the training.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.engine.objective import Objective
from kdbench.errors import UsageError
from kdbench.network import Network
from kdbench.network.sharing import LEAST_ROWS
from kdbench.recipes.network_spec import Train
from kdbench.types import Batch, Features

TRIALS = 6
"""Trials of a trial batch: a part of four and one of two."""
_TOLERANCE = 1e-4


def in_parts(batch: Batch, count: int) -> list[Batch]:
    """The batch in so many parts of nearly equal size, of at least two trials each where it has as many."""
    count = min(count, max(1, len(batch) // LEAST_ROWS))
    if count == 1:
        return [batch]
    least, more = divmod(len(batch), count)
    ends = [0]
    for number in range(count):
        ends.append(ends[-1] + least + (number < more))
    return [batch.between(start, end) for start, end in itertools.pairwise(ends)]


def refuse_parts(train: Train, where: str, objective: Objective, network: Network, teachers: Sequence[Network]) -> None:
    """Refuses parts of a batch for what needs the whole of it, as far as the networks and the optimizer do.

    Args:
        train: The training.
        where: Key of the network in the recipe.
        objective: Its losses.
        network: The network in training.
        teachers: The frozen ones.

    Raises:
        UsageError: A fusion couples the batch, a balance or the optimizer measures gradients of single terms, or a part
            has less than two trials.
    """
    if train.accumulate == 1:
        return
    key = f"{where}.train.accumulate = {train.accumulate}"
    leave = f"Leave it out, --set {where}.train.accumulate=1; --set {where}.train.checkpointing=true saves memory too."
    for owner, each in (("the network in training", network), *(("a teacher", teacher) for teacher in teachers)):
        if each.couples_batch:
            raise UsageError(
                f"{key}: the fusion of {owner} couples the trials of a batch and needs them at once", hint=leave
            )
    if objective.balance.every:
        raise UsageError(f"{key}: the balance measures the gradient of each term on the whole batch", hint=leave)
    if train.optimizer is not None and train.optimizer.name == "dot":
        raise UsageError(f"{key}: dot takes the two gradients of a whole batch apart", hint=leave)
    if train.batch_size < LEAST_ROWS * train.accumulate:
        raise UsageError(
            f"{key}: parts of a batch of {train.batch_size} would have less than {LEAST_ROWS} trials",
            hint=f"Take at most {max(1, train.batch_size // LEAST_ROWS)} parts.",
        )


def _with_gaps(errors: Tensor | None) -> Tensor | None:
    return None if errors is None else errors * (torch.arange(len(errors), device=errors.device) % 3 > 0)[:, None]


def refuse_whole_terms(
    where: str, objective: Objective, student: Sequence[Features], teachers: Sequence[Features], batch: Batch
) -> None:
    """Refuses parts of a batch for losses that are not the mean of what they are over parts.

    Args:
        where: Key of the network in the recipe.
        objective: Its losses.
        student: Features of each branch of the network in training; their shapes count, not their values.
        teachers: The same of the teachers.
        batch: Their trials.

    Raises:
        UsageError: A loss compares trials with each other, normalises over the batch, or remembers what it was called
            with.
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(features: Sequence[Features]) -> list[Features]:
        random = [branch.mapped(lambda x: torch.randn(x.shape, generator=generator).to(x)) for branch in features]
        # Tokens that were not taken away have no error, and how many there are differs between the parts.
        return [branch.replace(token_errors=_with_gaps(branch.token_errors)) for branch in random]

    student, teachers = drawn(student), drawn(teachers)
    cut = 2 * len(batch) // 3

    def value(one: Objective, start: int, end: int) -> Tensor:
        ours, theirs = ([branch.mapped(lambda x: x[start:end]) for branch in each] for each in (student, teachers))
        return one(ours, theirs, batch.between(start, end))[1].double()

    with torch.no_grad():
        whole = value(copy.deepcopy(objective), 0, len(batch))
        # One after the other, as in a training: what the first part leaves behind, the second one sees.
        one = copy.deepcopy(objective)
        shares = (cut / len(batch), 1 - cut / len(batch))
        parts = shares[0] * value(one, 0, cut) + shares[1] * value(one, cut, len(batch))
    for name, ours, theirs in zip(objective.names, parts.tolist(), whole.tolist(), strict=True):
        if not abs(ours - theirs) <= _TOLERANCE * max(abs(theirs), _TOLERANCE):
            raise UsageError(
                f"{where}.losses.{name} needs the whole batch at once: over a batch it is not the mean of what it is "
                "over parts, since it compares trials, normalises over them or remembers them",
                hint=f"Leave one of the two out: --set {where}.train.accumulate=1, or --set {where}.losses.{name}=null",
            )
