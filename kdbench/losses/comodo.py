"""COMODO: the student is to be as near to each of many embeddings of the teacher as the teacher itself is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.checks import check_positive, check_samples
from kdbench.losses.numerics import unit, without_autocast
from kdbench.registry import loss
from kdbench.types import Context


@loss("comodo", on="embedding", project=False, frozen_teacher=True)
class QueueSimilarity(nn.Module):
    """Cross-entropy of two distributions over a queue of the teacher's embeddings.

    `L = -1/B sum_b sum_j softmax(<v_b, q_j> / T_t) log softmax(<x_b, q_j> / T_s)`: v is the teacher's embedding and x
    what two layers with GELU between them make of the student's, both divided by their L2 norm; q_j are the embeddings
    of the queue and, behind them, those v of the batch itself, which then push the oldest ones out (Chen et al.,
    COMODO, 2025; sizes and temperatures of the authors' code). No label is read.

    The authors' queue of 16384 begins with a random part of the training part, which their first epoch does not train
    on; here it begins empty, and no place is given to what is not there. It never holds more than the training part:
    with a frozen teacher, one embedding several times over would change the loss by a constant. The authors bring the
    teacher to 128 dimensions by layers of its own; here its embedding is taken as it is, and the student's layers lead
    to its width.

    Args:
        context: Gives the widths of both embeddings and the number of training trials.
        queue: Most embeddings that are kept.
        teacher_temperature: T_t > 0.
        student_temperature: T_s > 0.
        hidden: Width between the student's two layers.

    Raises:
        UsageError: A parameter is out of range, there is not one teacher branch, or the training part's size is
            unknown.
    """

    stored: Tensor
    there: Tensor

    def __init__(
        self,
        context: Context,
        *,
        queue: int = 16384,
        teacher_temperature: float = 0.1,
        student_temperature: float = 0.05,
        hidden: int = 2048,
    ) -> None:
        super().__init__()
        check_positive(
            "comodo",
            queue=queue,
            teacher_temperature=teacher_temperature,
            student_temperature=student_temperature,
            hidden=hidden,
        )
        if len(context.teachers) != 1:
            raise UsageError(
                f"comodo compares with one teacher branch, and there are {len(context.teachers)}",
                hint="Build one loss for each teacher branch, from a context of that branch.",
            )
        if context.train_size < 1:
            raise UsageError(
                "comodo needs the number of training trials, and the context says 0",
                hint="Give the context the number: Context(…, train_size=…).",
            )
        self.teacher_temperature = teacher_temperature
        self.student_temperature = student_temperature
        # A longer queue would hold trials twice.
        width, kept = context.teachers[0].embedding, min(queue, context.train_size)
        self.layers = nn.Sequential(nn.Linear(context.student.embedding, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.register_buffer("stored", torch.zeros(kept, width))
        self.register_buffer("there", torch.zeros(kept, dtype=torch.bool))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of embeddings `(B, D)` and `(B, D')`, the teacher's detached."""
        check_samples("comodo", student, teacher)
        dtype = self.stored.dtype
        with without_autocast(student):
            own = unit(self.layers(student.flatten(1).to(dtype)), 1)
            given = unit(teacher.detach().flatten(1).to(dtype), 1)
            keys = torch.cat([self.stored, given])
            there = torch.cat([self.there, torch.ones_like(given[:, 0], dtype=torch.bool)])
            ours, theirs = own @ keys.T / self.student_temperature, given @ keys.T / self.teacher_temperature
        # A place that is not there has no share; its logarithm is left out of the sum.
        shares = theirs.masked_fill(~there, -torch.inf).softmax(1)
        logs = ours.masked_fill(~there, -torch.inf).log_softmax(1).masked_fill(~there, 0)
        value = -(shares * logs).sum(1).mean()
        with torch.no_grad():
            # The oldest stand at the front and leave.
            self.stored.copy_(keys[len(given) :])
            self.there.copy_(there[len(given) :])
        return value
