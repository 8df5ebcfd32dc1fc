"""Every loss once, on features of networks that have not been trained: what does not fit shows before any training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from kdbench.data.loader import Loader
from kdbench.engine.objective import Objective
from kdbench.engine.parts import refuse_whole_terms
from kdbench.network import Network, evaluating
from kdbench.types import Batch, Features


def rehearse(
    objective: Objective,
    student: Network,
    teachers: Sequence[Network],
    loader: Loader,
    accelerator: Accelerator,
    *,
    parts_of: str | None = None,
) -> None:
    """Evaluates an objective on the features that its training will give it; trains nothing.

    Args:
        objective: The losses; what they remember of these trials is not meant to be kept.
        student: The network that they would train.
        teachers: The networks that it would be compared with.
        loader: A few trials with what all networks see.
        accelerator: Device and precision.
        parts_of: Key in the recipe of a network whose batches are computed in parts; None where they are not.

    Raises:
        UsageError: A loss raises an error, or returns no scalar; or it needs a batch at once that is to be computed in
            parts. It is named.
    """
    batch = next(iter(loader.batches(range(len(loader)), len(loader))))
    branches = _features(student, objective, loader, batch, accelerator)
    targets = [branch for teacher in teachers for branch in _features(teacher, objective, loader, batch, accelerator)]
    objective(
        [_leaf(branch) for branch in branches],
        [branch.kept(objective.teacher_fields) for branch in targets],
        batch,
    )
    if parts_of is not None:
        kept = [branch.kept(objective.teacher_fields) for branch in targets]
        refuse_whole_terms(parts_of, objective, branches, kept, batch)


@torch.no_grad()
def _features(
    network: Network, objective: Objective, loader: Loader, batch: Batch, accelerator: Accelerator
) -> list[Features]:
    network.fit({name: loader.all_series(name) for name in loader.sensors})
    with evaluating(network), accelerator.autocast():
        inputs = network.represent(batch)
        branches = network(inputs)
        if "ablated_logits" in objective.needs:
            logits = network.ablated(inputs, mode=objective.ablation, generator=torch.Generator())
            branches = [branch.replace(ablated_logits=x) for branch, x in zip(branches, logits, strict=True)]
    return branches


def _leaf(features: Features) -> Features:
    # Made without a graph; as leaves they need gradients all the same, as in the training.
    def leaf(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.detach().requires_grad_()

    return features.replace(
        logits=leaf(features.logits),
        stages=tuple(leaf(stage) for stage in features.stages),
        embedding=leaf(features.embedding),
        semantic=leaf(features.semantic),
        group_logits=leaf(features.group_logits),
        token_errors=leaf(features.token_errors),
    )
