"""Similarity-preserving adaptive multi-modal fusion (SPAMFM of SAKDN; Liu et al., TIP 2021)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError
from kdbench.fusions.base import Fusion, Shape
from kdbench.fusions.gram import check_norm, similarity
from kdbench.registry import fusion


class SPAMFM(nn.Module):
    """SPAMFM of one stage: each of m maps is gated by what all of them gather over the batch.

    For F_i `(B, C, *grid)`, i = 1 … m:

        G_i = F_i F_iᵀ over flattened rows, each row divided by its L2 norm,  v_i = mean of F_i over the grid
        u_i = G_i v_i
        g_i = σ(gate_cat,i [u_1 … u_m]) + σ(gate_add,i Σ u) + σ(gate_mul,i Π u),  gate: linear → ReLU → linear
        F̂_i = g_i ⊙ F_i, broadcast over the grid

    Every source has gates of its own, in which FT, its successor, differs.

    Args:
        channels: C.
        sources: m.
        ratio: A gate's hidden layer is this much narrower than its input; null means 2 m, which are the published
            4, 8 and 12 for two, four and six sources.
        norm: `row` as published, or `frobenius`; see `kdbench.fusions.gram.similarity`.

    Raises:
        UsageError: A ratio below 1, or an unknown norm.
    """

    def __init__(
        self,
        channels: int,
        sources: int,
        *,
        ratio: int | None = None,
        norm: Literal["row", "frobenius"] = "row",
    ) -> None:
        super().__init__()
        check_norm(norm, "SPAMFM")
        if ratio is not None and ratio < 1:
            raise ParameterError(f"spamfm: ratio = {ratio}, expected 1 or more", "ratio")
        self.norm = norm
        narrower = ratio or 2 * sources

        def gates(inputs: int) -> nn.ModuleList:
            hidden = max(inputs // narrower, 1)
            return nn.ModuleList(
                nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())
                for _ in range(sources)
            )

        self.concat, self.sum, self.hadamard = gates(sources * channels), gates(channels), gates(channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Gates m maps `(B, C, *grid)`, or vectors `(B, C)`; the shapes stay."""
        gathered = [self._gathered(features) for features in maps]
        joined = torch.cat(gathered, dim=1)
        added = torch.stack(gathered).sum(0)
        multiplied = functools.reduce(torch.mul, gathered)
        gated = []
        for features, concat, add, multiply in zip(maps, self.concat, self.sum, self.hadamard, strict=True):
            gate = (concat(joined) + add(added) + multiply(multiplied)).to(features.dtype)
            gated.append(gate.view(*gate.shape, *[1] * (features.dim() - 2)) * features)
        return gated

    def _gathered(self, features: Tensor) -> Tensor:
        graph = similarity(features, self.norm)
        with torch.autocast(features.device.type, enabled=False):
            return (
                graph @ features.flatten(2).mean(2, dtype=graph.dtype)
                if features.dim() > 2
                else graph @ features.to(graph)
            )


@fusion("spamfm")
class SPAMFMFusion(Fusion):
    """Gates the branches after each of the four stages by what they gather over the batch (SAKDN); a head per branch.

    `g = σ(gate [u_1 … u_m]) + σ(gate Σ u) + σ(gate Π u)`, `F̂ = g ⊙ F`, where u = G v gathers each source's pooled map
    over the batch, G being the Gram matrix of its maps with unit rows; see `SPAMFM`. A prediction depends on its batch.

    With `stem` and `layers` the gates are the published seven: five blocks of VGG-16, whose first is the stem, and two
    linear layers a branch, `x_k = dropout(gate(ReLU(W_k x_(k-1) + b_k)))`, of which the last is what its head takes.
    The published system normalises by BatchNorm, which kdbench refuses below a fusion that couples the batch. And its
    code trains on batches whose sensors show different trials; here, they show the same.

    Args:
        shapes: What each branch hands out; all alike.
        ratio: A gate's hidden layer is this much narrower than its input; null means 2 m, as published.
        norm: `row` as published: what a sample gathers grows with √B, so a teacher trained at one batch size differs at
            another. `frobenius` does not depend on it.
        stem: Whether what the stems give is gated too.
        layers: Widths of gated linear layers between each embedding and its head, 300 and 300 as published.
        dropout: Share of each layer's outputs that training drops.

    Raises:
        UsageError: A width below 1, a dropout outside [0, 1) or without layers, or a stem that no fusion may act on.
    """

    couples_batch = True

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        ratio: int | None = None,
        norm: Literal["row", "frobenius"] = "row",
        stem: bool = False,
        layers: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(shapes)
        if any(width < 1 for width in layers):
            raise ParameterError(
                f"spamfm: layers = {list(layers)}, expected positive widths", instead={"layers": [128]}
            )
        if not 0 <= dropout < 1:
            raise ParameterError(f"spamfm: dropout = {dropout}, expected a number in [0, 1)", "dropout")
        if dropout and not layers:
            raise ParameterError(f"spamfm: dropout = {dropout} has no effect without layers", "dropout")
        if stem and not shapes[0].stem:
            raise UsageError(
                "spamfm: stem = true, and the encoder declares no stem that a fusion may act on",
                hint="vgg16 does: its stem is the first of five blocks",
            )
        self.constant_batch_invariant = norm == "frobenius"

        def gates(widths: Sequence[int]) -> nn.ModuleList:
            return nn.ModuleList(SPAMFM(count, self.sources, ratio=ratio, norm=norm) for count in widths)

        self.gates = gates(self.channels)
        self.stem_gates = gates((shapes[0].stem,) if stem else ())
        self.embedded_width = layers[-1] if layers else self.width
        pairs = itertools.pairwise((self.width, *layers))
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Sequential(nn.Linear(before, width), nn.ReLU()) for _ in range(self.sources))
            for before, width in pairs
        )
        self.layer_gates = gates(layers)
        self.drop = nn.Dropout(dropout)

    @property
    def out_shapes(self) -> tuple[Shape, ...]:
        """See the base class."""
        return tuple(replace(shape, width=self.embedded_width) for shape in self.shapes)

    def after_stem(self, maps: list[Tensor]) -> list[Tensor]:
        """Gates what the stems give, where it does; see the base class."""
        for gate in self.stem_gates:
            maps = gate(maps)
        return maps

    def embedded(self, embeddings: list[Tensor]) -> list[Tensor]:
        """Passes the embeddings through the gated layers; see the base class."""
        for layers, gate in zip(self.layers, self.layer_gates, strict=True):
            assert isinstance(layers, nn.ModuleList)
            hidden = [layer(x) for layer, x in zip(layers, embeddings, strict=True)]
            embeddings = [self.drop(x) for x in gate(hidden)]
        return embeddings

    def between(self, stage: int, maps: list[Tensor]) -> list[Tensor]:
        """Gates the maps of stages 1 to 3; see the base class."""
        return self.gates[stage](maps)

    def last(self, maps: list[Tensor]) -> list[Tensor]:
        """Gates the maps of stage 4; see the base class."""
        return self.gates[3](maps)
