"""Multi-head self-attention across the sources (HAMLET; Islam and Iqbal, IROS 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError, unknown
from kdbench.fusions.base import JointFusion, Shape
from kdbench.fusions.normalise import activated
from kdbench.fusions.weighing import weighted
from kdbench.registry import fusion

JOINS = ("concat", "sum")


@fusion("multihead")
class MultiHead(JointFusion):
    """Lets the sources attend to one another after the last stage, under one head (HAMLET's MAT).

    With the embedding of each source brought to d entries, `X = ReLU(W_m h_m + b_m)` `(B, m, d)`:

        Y = MultiHead(X, X, X),  Z = [Y_1 … Y_m]  or  Σ_m Y_m
        h = ReLU(W dropout(ReLU(norm(Z))) + b)

    Of the published system this is the fusion across modalities and the first layer of its classifier. Not here: its
    temporal self-attention (LSTM and attention over time inside each branch), its encoders, and the video branch,
    which a teacher of sensors has not. The defaults are those of a third party's code.

    The maps are weighed by the attention that each source receives, averaged over heads and over the sources that
    attend, so that losses on maps see the fused teacher.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        hidden: d, which the heads divide; also the width of the embedding.
        heads: Attention heads.
        join: `concat` or `sum` of the attended sources; the paper compares both.
        norm: `batch` is BatchNorm; `layer` normalises each sample on its own, so that it never depends on its batch.
        dropout: Share of Z that training drops.
        attention_dropout: Share of the attention weights that training drops; of two sources it takes one away often.

    Raises:
        UsageError: Heads that do not divide the hidden width, an unknown join or norm, or a dropout outside [0, 1).
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        maps_of: str | None = None,
        hidden: int = 128,
        heads: int = 2,
        join: Literal["concat", "sum"] = "concat",
        norm: Literal["batch", "layer"] = "batch",
        dropout: float = 0.4,
        attention_dropout: float = 0.4,
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if hidden < 1 or heads < 1 or hidden % heads:
            raise UsageError(f"multihead: {heads} heads do not divide the hidden width {hidden}")
        if join not in JOINS:
            raise unknown("join of multihead", str(join), JOINS)
        for key, share in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= share < 1:
                raise UsageError(f"multihead: {key} = {share}, expected a number in [0, 1)")
        self.join = join
        self.hidden = hidden
        self.projections = nn.ModuleList(nn.Linear(shape.width, hidden) for shape in shapes)
        self.attention = nn.MultiheadAttention(hidden, heads, dropout=attention_dropout, batch_first=True)
        joined = hidden * (self.sources if join == "concat" else 1)
        self.head = nn.Sequential(*activated(joined, norm, dropout, "multihead"), nn.Linear(joined, hidden), nn.ReLU())
        self.normalisation = "batch" if norm == "batch" else "sample"

    def joined_width(self) -> int:
        """d; see the base class."""
        return self.hidden

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Attends across the sources; see the base class."""
        projected = [layer(x).relu() for layer, x in zip(self.projections, embeddings, strict=True)]
        sources = torch.stack(projected, dim=1)
        attended, received = self.attention(sources, sources, sources)
        joined = attended.flatten(1) if self.join == "concat" else attended.sum(1)
        weights = received.mean(1)
        return self.joined_maps(stages, lambda maps: weighted(weights, maps)), self.head(joined)
