"""Similarity of the samples of a batch, as the fusions that couple it use it."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.errors import unknown_value

NORMS = ("frobenius", "row")
EPS = 1e-12


def check_norm(norm: str, owner: str) -> None:
    """Checks the name of a norm.

    Raises:
        UsageError: It is none of `NORMS`; the near misses are named.
    """
    if norm not in NORMS:
        raise unknown_value("norm", norm, NORMS, of=owner)


def similarity(features: Tensor, norm: str) -> Tensor:
    """The normalised Gram matrix of the rows of a batch, float32 or wider, under autocast too.

    R = features flattened to `(B, -1)`, G = R Rᵀ / ‖R Rᵀ‖.

    Args:
        features: `(B, …)`.
        norm: `frobenius` is one norm of the matrix; `row` divides each row by its own L2 norm, so that what a sample
            gathers from B like samples is √B times its own.

    Returns:
        G `(B, B)`.
    """
    with torch.autocast(features.device.type, enabled=False):
        rows = features.flatten(1)
        rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        gram = rows @ rows.T
        size = torch.linalg.vector_norm(gram, dim=(0, 1) if norm == "frobenius" else 1, keepdim=True)
        return gram / size.clamp_min(EPS)
