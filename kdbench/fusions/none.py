"""No fusion."""

from __future__ import annotations

from kdbench.fusions.base import Fusion
from kdbench.registry import fusion


@fusion("none")
class NoFusion(Fusion):
    """Every branch on its own, with its own head; the prediction is the mean of their probabilities.

    Args:
        shapes: What each branch hands out; any.
    """

    joins = "any"
    acts_between_stages = False
