"""Semantic embedding: the last stage's feature is drawn to the vector of its label's name."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import UsageError, unknown_value
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.text.wording import counted
from kdbench.types import Batch, Context

DISTANCES = {"squared": F.mse_loss, "absolute": F.l1_loss}


def label_vectors_of(context: Context, name: str) -> Tensor:
    """The label vectors `(K, S)` that a loss needs, checked.

    Args:
        context: What the loss is built from.
        name: The loss, for the message.

    Raises:
        UsageError: There are none, or their number is not that of the classes.
    """
    vectors = context.label_vectors
    if vectors is None:
        raise UsageError(
            f"the loss '{name}' needs vectors of the label names, and the recipe has none",
            hint="Name a source of them in the recipe; see: kdbench list semantics",
        )
    if vectors.dim() != 2 or len(vectors) != context.classes:
        raise UsageError(
            f"the loss '{name}' got label vectors of shape {tuple(vectors.shape)} for {context.classes} classes; "
            "expected one row per class",
            hint="Give the context label_vectors of shape (classes, S), in the order of the classes.",
        )
    return vectors.detach().clone()


@loss("se", on="semantic", teacher=False, needs=("semantic", "label_vectors"))
class SemanticEmbedding(nn.Module):
    """Distance between the semantic feature and the vector of the label's name.

    `L_SE = 1/(B S) sum_b ||f_b - emb[y_b]||^2` (Yuan et al., Scientific Reports 14, 2024, eq. 17). The vectors enter
    with their scale: unit vectors of several hundred dimensions make the term vanish. With `distance: absolute` it is
    `1/(B S) sum_b |f_b - emb[y_b]|`, which the released code of SAKDN (IEEE TIP 2021) takes for UTD-MHAD's teachers.

    Args:
        context: Gives the label vectors `(K, S)`.
        distance: `squared` or `absolute`.

    Raises:
        UsageError: There are no label vectors, their width is not that of the semantic feature, or an unknown distance.
    """

    label_vectors: Tensor

    def __init__(self, context: Context, *, distance: Literal["squared", "absolute"] = "squared") -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise unknown_value("distance", distance, DISTANCES, of="se")
        self.distance = DISTANCES[distance]
        vectors = label_vectors_of(context, "se")
        width = context.student.semantic
        if width is not None and width != vectors.shape[1]:
            raise UsageError(
                f"se: the semantic feature has {counted(width, 'entry')}, the label vectors have {vectors.shape[1]}",
                hint="Build the network with semantic set to the width of the label vectors.",
            )
        self.register_buffer("label_vectors", vectors, persistent=False)

    def forward(self, student: Tensor, *, batch: Batch) -> Tensor:
        """The loss of semantic features `(B, S)` with the labels of the batch."""
        student = at_least_float32(student)
        return self.distance(student, self.label_vectors[batch.label].to(student.dtype))
