"""Multi-head self-attention across the sources (HAMLET; Islam and Iqbal, IROS 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError, unknown_value
from kdbench.fusions.base import JointFusion, Shape
from kdbench.fusions.normalise import NORMS, activated
from kdbench.fusions.weighing import weighted
from kdbench.layers.heads import demand_divisor
from kdbench.registry import fusion

JOINS = ("concat", "sum")
MODALITY = "modality"


@fusion("multihead")
class MultiHead(JointFusion):
    """Lets the sources attend to one another after the last stage, under one head (HAMLET's MAT).

    With the embedding of each source brought to d entries, `X = ReLU(W_m h_m + b_m)` `(B, m, d)`:

        Y = MultiHead(X, X, X),  Z = [Y_1 … Y_m]  or  Σ_m Y_m
        h = ReLU(W dropout(ReLU(norm(Z))) + b)

    This is the fusion across modalities and the first layer of the classifier; the pooling `attention` is the part
    inside each branch. The defaults are those of a third party's code. METRO, code of the paper's first author,
    normalises over the axis of the modalities, each with a mean and a deviation of its own over batch and entries,
    before and after the attention (`norm: modality`), and projects no embedding that has d entries:

        X = ReLU(BN_m(h)),  Z = dropout(BN_m(MultiHead(X, X, X))),  h = ReLU(W join(Z) + b)

    The maps are weighed by the attention that each source receives, averaged over heads and over the sources that
    attend, so that losses on maps see the fused teacher.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        hidden: d, which the heads divide; also the width of the embedding.
        heads: Attention heads.
        join: `concat` or `sum` of the attended sources; the paper compares both.
        norm: `batch` is BatchNorm of Z's entries; `layer` normalises each sample on its own, so that it never depends
            on its batch; `modality` is METRO's, above.
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
        norm: Literal["batch", "layer", "modality"] = "batch",
        dropout: float = 0.4,
        attention_dropout: float = 0.4,
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if hidden < 1:
            raise ParameterError(f"multihead: hidden = {hidden}, expected a whole number above 0", "hidden")
        demand_divisor("multihead", heads, hidden, what="hidden width")
        if join not in JOINS:
            raise unknown_value("join", join, JOINS, of="multihead")
        for key, share in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= share < 1:
                raise ParameterError(f"multihead: {key} = {share}, expected a number in [0, 1)", key)
        self.join = join
        self.hidden = hidden
        self.by_modality = norm == MODALITY
        self.projections = nn.ModuleList(
            nn.Identity() if self.by_modality and shape.width == hidden else nn.Linear(shape.width, hidden)
            for shape in shapes
        )
        self.attention = nn.MultiheadAttention(hidden, heads, dropout=attention_dropout, batch_first=True)
        joined = hidden * (self.sources if join == "concat" else 1)
        if self.by_modality:
            self.before, self.behind = nn.BatchNorm1d(self.sources), nn.BatchNorm1d(self.sources)
            entered = nn.Sequential(nn.Dropout(dropout))
        elif norm in NORMS:
            entered = activated(joined, norm, dropout, "multihead")
        else:
            raise unknown_value("norm", norm, (*NORMS, MODALITY), of="multihead")
        self.head = nn.Sequential(*entered, nn.Linear(joined, hidden), nn.ReLU())
        self.normalisation = "sample" if norm == "layer" else "batch"

    def joined_width(self) -> int:
        """d; see the base class."""
        return self.hidden

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Attends across the sources; see the base class."""
        projected = [layer(x) for layer, x in zip(self.projections, embeddings, strict=True)]
        sources = torch.stack(projected, dim=1)
        sources = (self.before(sources) if self.by_modality else sources).relu()
        attended, received = self.attention(sources, sources, sources)
        if self.by_modality:
            attended = self.behind(attended)
        joined = attended.flatten(1) if self.join == "concat" else attended.sum(1)
        # The attention that a source receives from all sources, itself included.
        weights = received.mean(1)
        return self.joined_maps(stages, lambda maps: weighted(weights, maps)), self.head(joined)
