"""Attention over the sources, guided by an auxiliary task (MuMu; Islam and Iqbal, AAAI 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.fusions.base import JointFusion, Maps, Shape
from kdbench.fusions.normalise import activated
from kdbench.fusions.weighing import weighted
from kdbench.registry import fusion


@fusion("guided")
class Guided(JointFusion):
    """Fuses the sources for an auxiliary task, and by that result once more for the target task; one head.

    With the embedding of each source brought to d entries, `x_m = dropout(ReLU(norm(W_m h_m + b_m)))`:

        α = softmax over m of wᵀ x_m,  x_aux = dropout(ReLU(norm(Σ_m α_m x_m)))             SM-Fusion
        A = softmax over m of (W_Q x_aux)ᵀ (W_K x_m) / √d,  x_c = W_O Σ_m A_m W_V x_m       GM-Fusion
        h = ReLU(W [x_c, x_aux] + b)

    x_aux is what a group head sees: give the teacher the loss `group_ce`, whose groups the data set's card names.
    MuMu's objective is the cross-entropy of the classes plus 0.3 times that of the groups in the code of its first
    author, which `mumu_style` follows in this and in the dropout of 0.5; there the group head is one linear layer, and
    here it has a hidden one, as in a third party's code. Without that loss, the fusion guides itself.

    Of the published system these are both fusions and both heads. Not here: its encoders with keyless attention over
    time, and the video branch, which a teacher of sensors has not. The defaults are those of third parties' codes;
    where two of them differ in GM-Fusion, this is the one that sums the attended sources. The maps are weighed by A.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        hidden: d, also the width of the embedding.
        norm: `batch` is BatchNorm; `layer` normalises each sample on its own, so that it never depends on its batch.
        dropout: Share of x_m and of x_aux that training drops.

    Raises:
        UsageError: A hidden width below 1, an unknown norm, or a dropout outside [0, 1).
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        maps_of: str | None = None,
        hidden: int = 128,
        norm: Literal["batch", "layer"] = "batch",
        dropout: float = 0.4,
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if hidden < 1:
            raise UsageError(f"guided: hidden = {hidden}, expected a positive width")
        if not 0 <= dropout < 1:
            raise UsageError(f"guided: dropout = {dropout}, expected a number in [0, 1)")
        self.hidden = hidden
        self.normalisation = "batch" if norm == "batch" else "sample"
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(shape.width, hidden), *activated(hidden, norm, dropout, "guided"))
            for shape in shapes
        )
        self.score = nn.Linear(hidden, 1, bias=False)
        self.guide = activated(hidden, norm, dropout, "guided")
        self.query, self.key, self.value, self.output = (nn.Linear(hidden, hidden) for _ in range(4))
        self.target = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU())

    def joined_width(self) -> int:
        """d; see the base class."""
        return self.hidden

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> tuple[Maps, Tensor, Tensor]:
        """Fuses under the guidance of x_aux, which the group head sees; see the base class."""
        sources = [layer(x) for layer, x in zip(self.projections, embeddings, strict=True)]
        shares = _softmax(torch.cat([self.score(x) for x in sources], dim=1))
        auxiliary = self.guide(weighted(shares, sources))
        query = self.query(auxiliary)
        scores = torch.stack([(query * self.key(x)).sum(1) for x in sources], dim=1) / math.sqrt(self.hidden)
        weights = _softmax(scores)
        attended = self.output(weighted(weights, [self.value(x) for x in sources]))
        return (
            self.joined_maps(stages, lambda maps: weighted(weights, maps)),
            self.target(torch.cat([attended, auxiliary], dim=1)),
            auxiliary,
        )


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(1, dtype=torch.promote_types(scores.dtype, torch.float32))
