"""Weights of loss terms as functions of the progress of a training."""

from __future__ import annotations

import math
from collections.abc import Callable

from kdbench.recipes.terms import Schedule

SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda _share: 1.0,
    "linear": lambda share: share,
    "cosine": lambda share: 0.5 * (1 - math.cos(math.pi * share)),
    "warmup": lambda share: share,
}
"""How far a weight has come from its first value to its last, by the share of the way that lies behind it."""

_CHECKED_STEPS = 1000


def weight_at(weight: float | Schedule, progress: float) -> float:
    """The weight of a term at a moment of the training: a plain number, equal in a run that was resumed.

    `w(p) = from + (to - from) * shape((p - start) / (end - start))`, `from` before `start`, `to` after `end`.

    Args:
        weight: As a recipe has it: a number, or a schedule.
        progress: p, the share of all steps that have been taken, 0 ≤ p < 1.
    """
    if not isinstance(weight, Schedule):
        return weight
    share = (progress - weight.start) / (weight.end - weight.start)
    if share < 0:
        return weight.first
    done = SHAPES[weight.schedule](min(share, 1.0))
    # Exact at its end: what rounding leaves would keep a term alive that is to end at 0.
    return weight.to if done == 1 else weight.first + (weight.to - weight.first) * done


def first_without_any(weights: list[float | Schedule]) -> float | None:
    """The progress at which all weights are zero for the first time, so that nothing would be trained; or None.

    At the very beginning they may be, where one of them rises from there.
    """
    moments = [step / _CHECKED_STEPS for step in range(_CHECKED_STEPS)]
    idle = [moment for moment in moments if not any(weight_at(weight, moment) for weight in weights)]
    return None if idle in ([], moments[:1]) else idle[0]
