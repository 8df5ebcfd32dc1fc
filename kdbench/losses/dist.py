"""DIST: the student's probabilities correlate with the teacher's, within a sample and within a class."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import unknown
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import precision_of, widest
from kdbench.registry import loss


@loss("dist", on="logits", project=False)
def correlated(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    scale: Literal["t2", "none"] = "t2",
    eps: float = 1e-8,
) -> Tensor:
    """Pearson distance of the class probabilities along the rows and along the columns of the batch.

    `L = T^2 [beta (1 - mean_b r(P_b:^s, P_b:^t)) + gamma (1 - mean_k r(P_:k^s, P_:k^t))]` with P the softmax of the
    logits over T and r Pearson's correlation (Huang et al., NeurIPS 2022). The rows are the relations
    between classes, the columns those between samples.

    A row or column that is constant has no correlation: r = 0, and no gradient. So has every column of a batch of one
    sample. Norms below `eps` take this value, as torchdistill's `DISTLoss` has it; the authors' segmentation code
    adds `eps` to the product of the norms instead, and there as well as in float32 the correlation of columns of tiny
    probabilities is lost, which is why float64 is used between.

    Args:
        student: Logits `(B, K)`.
        teacher: Logits `(B, K)`; detached.
        beta: Weight of the relations between classes.
        gamma: Weight of the relations between samples.
        temperature: T > 0.
        scale: `t2` or `none`, whether the factor `T^2` is there.
        eps: Least norm of a centred row or column.

    Raises:
        UsageError: A parameter has no such value, or the logits have unlike shapes.
    """
    check_positive("dist", temperature=temperature, eps=eps)
    if scale not in ("t2", "none"):
        raise unknown("scale of dist", scale, ("t2", "none"))
    check_scores("dist", student, teacher)
    ours = (widest(student) / temperature).softmax(1)
    theirs = (widest(teacher).detach() / temperature).softmax(1)
    between_classes = 1 - _correlation(ours, theirs, eps).mean()
    between_samples = 1 - _correlation(ours.T, theirs.T, eps).mean()
    total = beta * between_classes + gamma * between_samples
    return (total * temperature**2 if scale == "t2" else total).to(precision_of(student))


def _correlation(ours: Tensor, theirs: Tensor, eps: float) -> Tensor:
    return F.cosine_similarity(_centred(ours), _centred(theirs), dim=1, eps=eps)


def _centred(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(1, keepdim=True)
    # What rounding leaves of a constant row points nowhere, and eps would blow up its gradient.
    rounding = 8 * torch.finfo(rows.dtype).eps * rows.detach().abs().amax(1, keepdim=True)
    return centred.where(centred.detach().abs().amax(1, keepdim=True) > rounding, 0)
