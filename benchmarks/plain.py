"""A training step written by hand in plain PyTorch: what kdbench's loop is measured against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from kdbench.engine.loop import Training
from kdbench.types import Batch


def plain_step(training: Training) -> Callable[[Batch, int], None]:
    """The step of a training without any of kdbench's loop: eager, no autocast, no records, losses called directly.

    Args:
        training: Gives the networks, losses and optimizer; `begin` has been called.

    Returns:
        A function of a batch and a number to seed its augmentation with.
    """
    network, objective = training.network, training.objective
    teacher = training.teacher and training.teacher.networks[0]
    weights = objective.weights_at(0.0)
    terms = [
        (weight, term.losses, term.with_teacher, term.on)
        for weight, term in zip(weights, objective.terms.values(), strict=True)
    ]
    parameters = [*network.parameters(), *objective.parameters()]
    ablates = "ablated_logits" in objective.needs

    @torch.no_grad()
    def taught(batch: Batch) -> list:
        if teacher is None:
            return []
        if teacher._features is not None:
            return teacher(batch)
        held = teacher._inputs
        inputs = teacher.network.represent(batch) if held is None else [x[batch.index] for x in held]
        branches = teacher.network(inputs)
        if not ablates:
            return branches
        return [
            b.replace(ablated_logits=a.expand(len(batch), -1)) for b, a in zip(branches, teacher._ablated, strict=True)
        ]

    def step(batch: Batch, number: int) -> None:
        teachers = taught(batch)
        batch = training.augment(batch, number)
        shown = network.represent(batch)
        branches = network(shown)
        if ablates:
            network.eval()
            with torch.no_grad():
                zero = network([torch.zeros_like(x[:1]) for x in shown])
            network.train()
            expanded = [z.logits.expand(len(batch), -1) for z in zero]
            branches = [b.replace(ablated_logits=x) for b, x in zip(branches, expanded, strict=True)]
        total = torch.zeros((), device=batch.label.device)
        for weight, losses, with_teacher, on in terms:
            for branch in branches:
                ours = branch if on is None else getattr(branch, on)
                if with_teacher:
                    theirs = [t if on is None else getattr(t, on) for t in teachers]
                    value = torch.stack([loss(ours, t) for loss, t in zip(losses, theirs, strict=True)]).mean()
                else:
                    value = losses[0](ours, batch=batch)
                total = total + weight * value / len(branches)
        training.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, training.spec.train.grad_clip)
        training.optimizer.step()

    return step
