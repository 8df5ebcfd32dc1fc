"""Correlation congruence: the samples of a batch correlate alike in both networks."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from kdbench.errors import ParameterError, unknown_value
from kdbench.losses.checks import check_positive, check_samples
from kdbench.losses.numerics import at_least_float32, gram, precision_of, unit, widest
from kdbench.registry import loss


@loss("cc", on="embedding", project=False)
def correlation_congruence(
    student: Tensor,
    teacher: Tensor,
    *,
    kernel: Literal["gaussian", "bilinear"] = "gaussian",
    gamma: float = 0.4,
    order: int = 2,
) -> Tensor:
    """Squared difference of the kernel matrices of the batch in both networks.

    `L = 1/B^2 ||C_s - C_t||_F^2`, `C_ij = k(x_i, x_j)` of embeddings x divided by their L2 norm (Peng et al., ICCV
    2019). The Gaussian kernel `exp(-gamma ||x_i - x_j||^2)` enters as its Taylor series to the order P,
    `k = exp(-2 gamma) sum_{p=0..P} (2 gamma)^p / p! <x_i, x_j>^p`, which holds for unit vectors; the bilinear one is
    `<x_i, x_j>`. The widths of the networks need not agree. A sample that is all zero has no direction and gets no
    gradient.

    Knowledge-Distillation-Zoo computes the same. Two libraries have other functions under this name: torchdistill
    leaves out the normalisation, without which the series is none of a Gaussian, and does not square the norm;
    RepDistiller multiplies the differences of consecutive samples, which compares no correlations and depends on the
    order of the batch.

    Args:
        student: Embeddings `(B, ...)`, flattened to `(B, D)`.
        teacher: Embeddings `(B, ...)`; detached.
        kernel: `gaussian` or `bilinear`.
        gamma: Width of the Gaussian kernel, positive.
        order: P, the order of its series, at least 1.

    Raises:
        UsageError: A parameter has no such value, or the batches differ.
    """
    if kernel not in ("gaussian", "bilinear"):
        raise unknown_value("kernel", kernel, ("gaussian", "bilinear"), of="cc")
    check_positive("cc", gamma=gamma)
    if order < 1 or order != int(order):
        raise ParameterError(f"cc: order is {order}, expected a whole number of at least 1", "order")
    check_samples("cc", student, teacher)
    powers = [0.0, 1.0]
    if kernel == "gaussian":
        powers = [math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) for p in range(int(order) + 1)]
    correlation = _kernel(student, powers)
    with torch.no_grad():
        target = _kernel(teacher, powers)
    return (correlation - target).square().mean().to(precision_of(student))


def _kernel(embedding: Tensor, powers: list[float]) -> Tensor:
    """`sum_p powers[p] <x_i, x_j>^p` of the unit embeddings, `(B, B)`, by Horner's rule."""
    cosines = widest(gram(unit(at_least_float32(embedding.flatten(1)), 1)))
    total = torch.full_like(cosines, powers[-1])
    for factor in reversed(powers[:-1]):
        total = total * cosines + factor
    return total
