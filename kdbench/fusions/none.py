"""No fusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kdbench.errors import unknown_value
from kdbench.fusions.base import Fusion, Shape
from kdbench.registry import fusion

AVERAGES = ("probabilities", "logits")


@fusion("none")
class NoFusion(Fusion):
    """Every branch on its own, with its own head; the prediction is the mean of their probabilities.

    Args:
        shapes: What each branch hands out; any.
        average: `logits` predicts by the softmax of the mean of their logits instead.

    Raises:
        UsageError: An unknown average.
    """

    joins = "any"
    acts_between_stages = False

    def __init__(
        self, shapes: Sequence[Shape], *, average: Literal["probabilities", "logits"] = "probabilities"
    ) -> None:
        super().__init__(shapes)
        if average not in AVERAGES:
            raise unknown_value("average", average, AVERAGES, of="none")
        self.averages = average
