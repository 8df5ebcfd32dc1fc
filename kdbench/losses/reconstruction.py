"""Reconstruction of tokens that a fusion took away."""

from __future__ import annotations

from torch import Tensor

from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("reconstruction", on="token_errors", teacher=False, labels="unused")
def reconstruction(student: Tensor) -> Tensor:
    """Mean error of the tokens that the fusion `masked` took away in this step and rebuilt from the others.

    `L = sum_b sum_m e_bm / n` with the errors e `(B, M)` of all trials and branches, 0 where nothing was taken away,
    and n the number of those that are not 0; 0 where there are none. The errors are mean squared differences between
    the rebuilt token and the true one, standardised over its entries. With the cross-entropy, both of weight 1, this
    is the objective of ActionMAE (Woo et al., AAAI 2023; sangminwoo/ActionMAE).

    Args:
        student: Errors `(B, M)` of the network in training.
    """
    errors = at_least_float32(student)
    return errors.sum() / (errors != 0).sum().clamp(min=1)
