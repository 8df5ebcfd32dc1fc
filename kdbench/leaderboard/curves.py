"""The learning curves of a submission as arrays: as a mapping for each epoch they are most of what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.leaderboard.schema import Submission

PHASES = ("teacher", "student")
QUANTITIES = ("loss", "accuracy")


@dataclass(frozen=True)
class Curve:
    """One quantity of one seed over the epochs of a phase.

    Attributes:
        phase: One of `PHASES`.
        quantity: One of `QUANTITIES`; accuracy is on the training part.
        seed: The seed.
        epochs: `(E,)`; those in which the quantity was not told are left out.
        values: `(E,)`.
    """

    phase: str
    quantity: str
    seed: int
    epochs: np.ndarray
    values: np.ndarray


def curves_of(result: Submission) -> Sequence[Curve]:
    """All learning curves, by phase, by quantity and by seed."""
    return [
        Curve(phase, quantity, trained.seed, *np.array(points, dtype=np.float64).T)
        for phase in PHASES
        for quantity in QUANTITIES
        for trained in result.seeds
        if (
            points := [
                (epoch.epoch, value)
                for epoch in trained.claims.curves
                if epoch.phase == phase and (value := getattr(epoch, quantity)) is not None
            ]
        )
    ]
