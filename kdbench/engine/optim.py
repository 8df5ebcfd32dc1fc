"""Optimizers, their parameter groups, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from kdbench.engine.dot import DistillationOriented
from kdbench.recipes.network_spec import Train


def build_optimizer(modules: Iterable[nn.Module], train: Train) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or what the recipe names; vectors (norms, biases) carry no weight decay."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    wanted = train.optimizer
    if wanted is None:
        return torch.optim.AdamW(groups, lr=train.lr, fused=True)
    if wanted.name == "dot":
        return DistillationOriented(groups, lr=train.lr, momentum=wanted.momentum, delta=wanted.delta)
    return torch.optim.SGD(groups, lr=train.lr, momentum=wanted.momentum)


def learning_rate(train: Train, step: int, steps: int) -> float:
    """The rate at a step: linear warm-up, then cosine decay to zero or a constant.

    Args:
        train: Peak rate, schedule and share of warm-up.
        step: Zero-based step.
        steps: Number of steps in the whole training.
    """
    warmup = math.ceil(train.warmup * steps)
    if step < warmup:
        # Counted from 1: a first step at rate 0 would be lost.
        return train.lr * (step + 1) / warmup
    if train.schedule == "constant":
        return train.lr
    return train.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
