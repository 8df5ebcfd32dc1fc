"""Cross-entropy with the groups of the labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Batch, Context


@loss("group_ce", on="group_logits", teacher=False, needs=("group_logits", "groups"))
class GroupCrossEntropy(nn.Module):
    """Cross-entropy of the group scores with the group of each label, mean over the batch.

    `L = -1/B sum_b log softmax(u_b)[g(y_b)]` with the group scores u `(B, G)` and the group g(y) of a class: the
    auxiliary task of MuMu (Islam and Iqbal, AAAI 2022), whose groups hold similar activities. The groups come from the
    data set's card. The loss gives the network a group head for each branch, on the auxiliary feature of the fusion
    `guided`, or on the embedding under any other fusion.

    Args:
        context: Gives the group of each class `(K,)`.

    Raises:
        UsageError: The data set names no groups, or not one for each class.
    """

    groups: Tensor

    def __init__(self, context: Context) -> None:
        super().__init__()
        groups = context.groups
        if groups is None:
            raise UsageError(
                "the loss 'group_ce' needs groups of similar classes, and the data set names none",
                hint="Name them in its card: classes: [{name: …, short: …, group: …}, …]",
            )
        if tuple(groups.shape) != (context.classes,):
            raise UsageError(
                f"the loss 'group_ce' got groups of shape {tuple(groups.shape)} for {context.classes} classes; "
                "expected one per class",
                hint="Give the context groups of shape (classes,): the number of each class's group.",
            )
        self.register_buffer("groups", groups.detach().clone(), persistent=False)

    def forward(self, student: Tensor, *, batch: Batch) -> Tensor:
        """The loss of group scores `(B, G)` with the labels of the batch."""
        return F.cross_entropy(at_least_float32(student), self.groups[batch.label])
