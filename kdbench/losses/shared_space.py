"""Branches that share a space: each tells the class there, and those of a trial lie together."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.registry import loss
from kdbench.types import Batch, Context

_EPS = 1e-12


@loss(
    "shared_space",
    on="embedding",
    teacher=False,
    needs=("student_classifiers", "student_projections"),
)
class SharedSpace(nn.Module):
    """Cross-entropy of each branch, distances between the branches of a trial, and sparse projections.

    Of the projections `P_m = W_m h_m (B, D)` of M branches, which the fusion `shared` hands out side by side, and the
    network's head with the columns V_m for branch m and the bias b:

        z_m = M V_m P_m + b
        L = sum_m CE(z_m, y) + align mean_(m < n) ||P_m - P_n||_F^2 / B + sparse sum_m ||W_m||_(2,1)

    with `||W||_(2,1)` the sum of the norms of the columns of W, one an entry of h, so that entries which no class needs
    fade. The network's scores are the mean of all z_m. In the style of MCRL (Liu, Kong and Jiang, IEEE Sensors J.
    2019), which learns a shared subspace of hand-made features in closed steps; the formula is this project's.

    Args:
        context: Gives the classifier and the projections.
        align: Weight of the distances.
        sparse: Weight of the norms.

    Raises:
        UsageError: A weight is negative, or fewer than two branches share a space.
    """

    def __init__(self, context: Context, *, align: float = 1.0, sparse: float = 1e-4) -> None:
        super().__init__()
        if min(align, sparse) < 0:
            raise ParameterError(
                f"shared_space: align is {align} and sparse {sparse}; expected no negative weight", "align", "sparse"
            )
        self.branches = len(context.student_projections)
        if self.branches < 2 or context.student.embedding % self.branches:
            raise UsageError(
                "shared_space compares branches in a space that they share, and the network in training has "
                f"{self.branches} in one of width {context.student.embedding}",
                hint="Let the network see several sources, and join them by the fusion shared: fusion: {name: shared}",
            )
        self.weights = (align, sparse)
        # They are the network's: in a tuple they are no part of this module.
        self._classifier = context.student_classifiers
        self._projections = context.student_projections
        self._apart: Tensor | None = None

    def forward(self, student: Tensor, *, batch: Batch) -> Tensor:
        """The loss of joined projections `(B, M D)` with the labels of the batch."""
        parts = at_least_float32(student).chunk(self.branches, dim=1)
        (classifier,) = self._classifier
        assert isinstance(classifier, nn.Linear)
        columns, bias = classifier.weight.to(parts[0]).chunk(self.branches, dim=1), classifier.bias.to(parts[0])
        with without_autocast(parts[0]):
            scores = [self.branches * F.linear(part, own) + bias for part, own in zip(parts, columns, strict=True)]
        told = torch.stack([F.cross_entropy(score, batch.label) for score in scores]).sum()
        pairs = itertools.combinations(parts, 2)
        apart = torch.stack([(one - other).square().sum(1).mean() for one, other in pairs]).mean()
        self._apart = apart.detach()
        align, sparse = self.weights
        return told + align * apart + sparse * self._norms().to(told)

    def diagnostics(self) -> dict[str, Tensor]:
        """Readings of the last call: `apart` is the mean squared distance between two branches of a trial."""
        return {} if self._apart is None else {"apart": self._apart}

    def _norms(self) -> Tensor:
        weights = [layer.weight for layer in self._projections if isinstance(layer, nn.Linear)]
        # The root of 0 has no gradient, and 0 is where sparse columns end.
        return torch.stack([(weight.square().sum(0) + _EPS).sqrt().sum() for weight in weights]).sum()
