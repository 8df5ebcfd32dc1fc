"""Attention over the sources, without keys or queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError, unknown_value
from kdbench.fusions.base import JointFusion, Shape
from kdbench.fusions.weighing import weighted
from kdbench.registry import fusion

SCORES = ("tanh", "linear")


@fusion("attention")
class Attention(JointFusion):
    """Weighs the branches by a learnt score after the last stage, under one head: the shapes of one branch.

    `h = Σ_m α_m h_m` with `α = softmax over the m sources of a`; the maps are weighed by the same α. Two scores:

    - `tanh`: `a_m = vᵀ tanh(U h_m + b)`, the attention over modalities of MMAD, the multi-modality distillation of
      MMAct (Kong et al., ICCV 2019). The paper's formulas were not at hand: this is the usual additive form.
    - `linear`: `a_m = wᵀ h_m`, keyless attention (Long et al., AAAI 2018). The published system pools *time* by it,
      behind an LSTM in each modality, and concatenates the modalities; of that system only the score is here, and it
      pools the sources. A bias would cancel in the softmax.

    U, b, v and w are shared by the sources.

    Args:
        shapes: What each branch hands out; the embeddings are equally wide.
        maps_of: See `JointFusion`.
        score: `tanh` or `linear`.
        hidden: Width of U h under `tanh`; null means D.

    Raises:
        UsageError: An unknown score, or a hidden width where there is no hidden layer.
    """

    joins = "widths"

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        maps_of: str | None = None,
        score: Literal["tanh", "linear"] = "tanh",
        hidden: int | None = None,
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if score not in SCORES:
            raise unknown_value("score", score, SCORES, of="attention")
        if score == "linear" and hidden is not None:
            raise ParameterError(f"attention: hidden = {hidden}, and the linear score has no hidden layer", "hidden")
        if hidden is not None and hidden < 1:
            raise ParameterError(f"attention: hidden = {hidden}, expected a positive width", "hidden")
        self.score: nn.Module = nn.Linear(self.width, 1, bias=False)
        if score == "tanh":
            size = hidden or self.width
            self.score = nn.Sequential(nn.Linear(self.width, size), nn.Tanh(), nn.Linear(size, 1, bias=False))

    def weights(self, embeddings: Sequence[Tensor]) -> Tensor:
        """α `(B, m)`, float32 or wider, of the embeddings `(B, D)`."""
        scores = torch.cat([self.score(embedding) for embedding in embeddings], dim=1)
        return scores.softmax(1, dtype=torch.promote_types(scores.dtype, torch.float32))

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Weighs maps and embeddings; see the base class."""
        weights = self.weights(embeddings)
        return self.joined_maps(stages, lambda maps: weighted(weights, maps)), weighted(weights, embeddings)
