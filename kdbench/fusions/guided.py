"""Attention over the sources, guided by an auxiliary task (MuMu; Islam and Iqbal, AAAI 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError, unknown_value
from kdbench.fusions.base import JointFusion, Maps, Shape
from kdbench.fusions.normalise import NORMS, activated
from kdbench.fusions.weighing import weighted
from kdbench.registry import fusion

NONE = "none"
ATTENDED = ("linear", "relu")
GROUP_HEADS = ("hidden", "linear")


@fusion("guided")
class Guided(JointFusion):
    """Fuses the sources for an auxiliary task, and by that result once more for the target task; one head.

    With the embedding of each source brought to d entries, `x_m = dropout(ReLU(norm(W_m h_m + b_m)))`:

        α = softmax over m of wᵀ x_m,  x_aux = dropout(ReLU(norm(Σ_m α_m x_m)))             SM-Fusion
        A = softmax over m of (W_Q x_aux)ᵀ (W_K x_m) / √d,  x_c = W_O Σ_m A_m W_V x_m       GM-Fusion
        h = ReLU(W [x_c, x_aux] + b)

    x_aux is what a group head sees: give the teacher the loss `group_ce`, whose groups the data set's card names.
    MuMu's objective is the cross-entropy of the classes plus 0.3 times that of the groups in the code of its first
    author. Without that loss, the fusion guides itself.

    These are both fusions and both heads; the keyless attention over time is a pooling of the branches. The defaults
    are those of third parties' codes; where two of them differ in GM-Fusion, this is the one that sums the attended
    sources. METRO, the code of the first author, is `{norm: none, dropout: 0.5, attention_dropout: 0.2, attended: relu,
    group_head: linear}`: no norm, x_aux as the weighing leaves it, one linear layer for the groups, and

        x_m = dropout(ReLU(h_m)),  x_aux = Σ_m α_m x_m,  x_c = dropout(ReLU(W_O Σ_m dropout(A_m) W_V x_m))

    The maps are weighed by A.

    Args:
        shapes: What each branch hands out; any.
        maps_of: See `JointFusion`.
        hidden: d, also the width of the embedding.
        norm: `batch` is BatchNorm; `layer` normalises each sample on its own, so that it never depends on its batch;
            `none` is METRO's, above, and projects no embedding that has d entries.
        dropout: Share of x_m and of x_aux (of x_c, under `attended: relu`) that training drops.
        attention_dropout: Share of the attention weights A that training drops.
        attended: `linear` leaves x_c as it is; `relu` adds a ReLU and dropout.
        group_head: What the loss `group_ce` puts on x_aux: `hidden`, a layer of d/2 and one of the groups, or `linear`.

    Raises:
        UsageError: A hidden width below 1, an unknown norm or choice, or a dropout outside [0, 1).
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        maps_of: str | None = None,
        hidden: int = 128,
        norm: Literal["batch", "layer", "none"] = "batch",
        dropout: float = 0.4,
        attention_dropout: float = 0.0,
        attended: Literal["linear", "relu"] = "linear",
        group_head: Literal["hidden", "linear"] = "hidden",
    ) -> None:
        super().__init__(shapes, maps_of=maps_of)
        if hidden < 1:
            raise ParameterError(f"guided: hidden = {hidden}, expected a positive width", "hidden")
        for key, share in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if not 0 <= share < 1:
                raise ParameterError(f"guided: {key} = {share}, expected a number in [0, 1)", key)
        for key, value, known in (
            ("norm", norm, (*NORMS, NONE)),
            ("attended", attended, ATTENDED),
            ("group_head", group_head, GROUP_HEADS),
        ):
            if value not in known:
                raise unknown_value(key, value, known, of="guided")
        self.hidden = hidden
        self.group_head = group_head
        self.normalisation = "batch" if norm == "batch" else "sample"
        self.projections = nn.ModuleList(_projection(shape.width, hidden, norm, dropout) for shape in shapes)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.guide: nn.Module = nn.Identity() if norm == NONE else activated(hidden, norm, dropout, "guided")
        self.query, self.key, self.value, self.output = (nn.Linear(hidden, hidden) for _ in range(4))
        self.drop = nn.Dropout(attention_dropout)
        self.rectified: nn.Module = nn.Identity()
        if attended == "relu":
            self.rectified = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
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
        attended = self.rectified(self.output(weighted(self.drop(weights), [self.value(x) for x in sources])))
        return (
            self.joined_maps(stages, lambda maps: weighted(weights, maps)),
            self.target(torch.cat([attended, auxiliary], dim=1)),
            auxiliary,
        )


def _projection(width: int, hidden: int, norm: str, dropout: float) -> nn.Module:
    """An embedding to x_m."""
    if norm != NONE:
        return nn.Sequential(nn.Linear(width, hidden), *activated(hidden, norm, dropout, "guided"))
    own = nn.Identity() if width == hidden else nn.Linear(width, hidden)
    return nn.Sequential(own, nn.ReLU(), nn.Dropout(dropout))


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(1, dtype=torch.promote_types(scores.dtype, torch.float32))
