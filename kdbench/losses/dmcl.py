"""Distillation multiple choice learning: the stream that is best at a sample learns its label, the others follow it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import ParameterError, UsageError
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Batch


@loss("dmcl", on="logits", project=False, all_teachers=True, labels="needed", detaches=("logits",))
def multiple_choice(
    student: Tensor,
    teachers: Sequence[Tensor],
    *,
    batch: Batch,
    temperature: float = 2.0,
    loser_labels: float = 0.0,
) -> Tensor:
    """Cross-entropy with the label where the student is the best stream, and with the best stream where it is not.

    `L = 1/B sum_b [r_b CE(s_b, y_b) + (1 - r_b) (T^2 H(softmax(z_b / T), softmax(s_b / T)) + a CE(s_b, y_b))]`: of the
    student and the teachers, the stream with the lowest cross-entropy at sample b is its winner, z_b are the winner's
    logits, H is the cross-entropy of two distributions, and `r_b = 1` where the student wins (Garcia et al., WACV 2021;
    T and the sum as in the authors' code, whose default of a is 1; the losers of the paper do not see the label).
    Where several streams are equal the first one wins, the student before the teachers.

    Each network has its own part of the sum: the streams train together where the teachers are `train: joint` and have
    this loss, too. A teacher compares with the student alone, so of more than two networks only the student sees all;
    with two the sum over both is the authors' loss.

    Args:
        student: Logits `(B, K)`.
        teachers: Logits `(B, K)` of each teacher branch; detached.
        batch: Its `label` `(B,)` holds the class indices.
        temperature: T > 0.
        loser_labels: a, the weight of the label where the student does not win.

    Raises:
        UsageError: A parameter is out of range, there is no teacher, or the logits have unlike shapes.
    """
    check_positive("dmcl", temperature=temperature)
    if not loser_labels >= 0:
        raise ParameterError(f"dmcl: loser_labels is {loser_labels}, expected a number from 0 on", "loser_labels")
    if not teachers:
        raise UsageError(
            "dmcl chooses among streams, and there is no teacher beside the student",
            hint="Give it the logits of one teacher or more.",
        )
    for teacher in teachers:
        check_scores("dmcl", student, teacher)
    own = at_least_float32(student)
    # The student is the first stream; as a target, its own scores are as fixed as the others'.
    streams = torch.stack([own.detach(), *(at_least_float32(teacher).detach() for teacher in teachers)], dim=1)
    rows, count, classes = streams.shape
    errors = F.cross_entropy(streams.flatten(0, 1), batch.label.repeat_interleave(count), reduction="none")
    winner = errors.view(rows, count).argmin(1)
    target = streams.gather(1, winner[:, None, None].expand(-1, 1, classes))[:, 0]
    of_label = F.cross_entropy(own, batch.label, reduction="none")
    of_winner = F.cross_entropy(own / temperature, (target / temperature).softmax(1), reduction="none")
    lost = temperature**2 * of_winner + loser_labels * of_label
    return torch.where(winner == 0, of_label, lost).mean()
