"""Fusion and Tuning between the stages (FT; Yuan et al., Scientific Reports 14, 2024, eq. 4-11)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.fusions.base import Fusion, Shape
from kdbench.fusions.gram import check_norm, similarity
from kdbench.registry import fusion


class FusionTuning(nn.Module):
    """FT of one stage: m token maps tuned by one attention vector that they share.

    For F_i `(B, L, C)`, i = 1 … m:

        R_i = F_i flattened to (B, L·C),  R̂_i = R_i R_iᵀ,  G_i = R̂_i / ‖R̂_i‖       (4, 5)
        V_i = mean of F_i over L,  S_i = G_i V_i                                    (6, 7)
        E_con = W_con [S_1 … S_m] + b,  E_sum = W_sum Σ S_i + b,  E_had = W_had Π S_i + b   (8, 9)
        A = GELU(E_con) + GELU(E_sum) + GELU(E_had)                                 (10)
        F̂_i = A ⊙ F_i, broadcast over L                                             (11)

    The Gram matrix couples the rows of a batch. It is computed in float32 under autocast too.

    Args:
        channels: C.
        sources: m.
        norm: ‖·‖ in (5): `frobenius` is one norm of the matrix; `row` divides each row by its own L2 norm, which makes
            S grow with √B.
        residual: F_i + A ⊙ F_i in (11). The three layers then start at zero, so FT starts as the identity.
    """

    def __init__(
        self,
        channels: int,
        sources: int,
        *,
        norm: Literal["frobenius", "row"] = "frobenius",
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_norm(norm, "FT")
        self.norm = norm
        self.residual = residual
        self.concat = nn.Linear(sources * channels, channels)
        self.sum = nn.Linear(channels, channels)
        self.hadamard = nn.Linear(channels, channels)
        # With every layer at 0 the attention is 0: training begins at the network without fusion.
        if residual:
            for layer in (self.concat, self.sum, self.hadamard):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def similarity(self, features: Tensor) -> Tensor:
        """G of (4) and (5): `(B, L, C)` to `(B, B)`, float32 or wider."""
        return similarity(features, self.norm)

    def attention(self, maps: Sequence[Tensor]) -> Tensor:
        """A of (6) to (10): m times `(B, L, C)` to `(B, C)`."""
        gathered = []
        for features in maps:
            graph = self.similarity(features)
            with torch.autocast(features.device.type, enabled=False):
                gathered.append(graph @ features.mean(1, dtype=graph.dtype))
        concatenated = F.gelu(self.concat(torch.cat(gathered, dim=1)))
        # The gradient of torch.prod counts zeros on the host, which would make it wait for the device.
        multiplied = functools.reduce(torch.mul, gathered)
        return concatenated + F.gelu(self.sum(torch.stack(gathered).sum(0))) + F.gelu(self.hadamard(multiplied))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Tunes m maps `(B, L, C)`; the shapes stay."""
        weight = self.attention(maps)[:, None].to(maps[0].dtype)
        if self.residual:
            return [torch.addcmul(features, weight, features) for features in maps]
        return [weight * features for features in maps]


@fusion("ft")
class FTFusion(Fusion):
    """Fusion and Tuning after stages 1, 2 and 3; every branch keeps its own head (Yuan et al. 2024).

    `A = GELU(W [S_1 … S_m]) + GELU(W Σ S) + GELU(W Π S)`, `F̂_i = A ⊙ F_i`, where S_i = G_i V_i gathers each source's
    mean token over the batch, G being the normalised Gram matrix of its maps; see `FusionTuning` for all the equations.
    A prediction depends on its batch.

    Args:
        shapes: What each branch hands out; all alike.
        norm: Norm of the Gram matrix: `frobenius` is one norm of all of it; `row` divides each row by its own L2 norm,
            so that what a sample gathers grows with √B, and a teacher differs from batch size to batch size.
        residual: `F_i + A ⊙ F_i`; the layers then start at zero, so that FT starts as the identity.
    """

    couples_batch = True

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        norm: Literal["frobenius", "row"] = "frobenius",
        residual: bool = False,
    ) -> None:
        super().__init__(shapes)
        # Over B equal rows, Frobenius gives 1/B everywhere, so that each gathers one row's value; by row it is more.
        self.constant_batch_invariant = norm == "frobenius"
        self.tunings = nn.ModuleList(
            FusionTuning(count, self.sources, norm=norm, residual=residual) for count in self.channels[:3]
        )

    def between(self, stage: int, maps: list[Tensor]) -> list[Tensor]:
        """Tunes the maps of stages 1 to 3; see the base class."""
        tokens = [features.flatten(2).transpose(1, 2) for features in maps]
        tuned = self.tunings[stage](tokens)
        return [out.transpose(1, 2).unflatten(2, f.shape[2:]) for out, f in zip(tuned, maps, strict=True)]
