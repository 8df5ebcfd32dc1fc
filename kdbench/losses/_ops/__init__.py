"""Hand-written forms of formulas: less memory or time than autograd takes, the same values and gradients.

The formula itself stands in the loss's file, under `@computed_by(Operation)`: what runs is the operation, and the
formula stays what it is held to, by `tests/losses/test_ops.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

Formula = Callable[..., Tensor]


def computed_by(operation: type[torch.autograd.Function]) -> Callable[[Formula], Formula]:
    """Lets an operation compute a formula of tensors, which stays at hand as `__wrapped__`.

    Args:
        operation: Takes the formula's arguments, by their position.
    """

    def decorate(formula: Formula) -> Formula:
        @functools.wraps(formula)
        def compute(*arguments: object) -> Tensor:
            return operation.apply(*arguments)

        return compute

    return decorate
