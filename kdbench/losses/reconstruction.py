"""Reconstruction of tokens that a fusion took away."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Context


@loss("reconstruction", on="token_errors", teacher=False, labels="unused")
class Reconstruction(nn.Module):
    """Mean error of the tokens that the fusion `masked` took away in this step and rebuilt from the others.

    `L = sum_b sum_m e_bm / n` with the errors e `(B, M)` of all trials and branches, 0 where nothing was taken away,
    and n the number of those that are not 0; 0 where there are none. The errors are mean squared differences between
    the rebuilt token and the true one, standardised over its entries. With the cross-entropy, both of weight 1, this
    is the objective of ActionMAE (Woo et al., AAAI 2023; sangminwoo/ActionMAE).

    Args:
        context: Gives the number of tokens.

    Raises:
        UsageError: The network has one branch, whose token is never taken away.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        if context.student.token_errors == 1:
            raise UsageError(
                "reconstruction has nothing to rebuild: the network in training has one branch, which stays",
                hint="Let the network see several sources, written as branches, or leave the loss out.",
            )

    def forward(self, student: Tensor) -> Tensor:
        """The mean of errors `(B, M)` of the network in training."""
        errors = at_least_float32(student)
        return errors.sum() / (errors != 0).sum().clamp(min=1)
