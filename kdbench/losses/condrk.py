"""ConDRK: the student's logits are drawn to a teacher's class and driven from its other classes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.draws import priorities
from kdbench.losses.numerics import at_least_float32, unit, without_autocast
from kdbench.registry import loss
from kdbench.types import Batch, Context


@loss("condrk", on="logits", project=False, labels="optional", frozen_teacher=True)
class ContrastiveLogits(nn.Module):
    """Noise-contrastive estimate on the cosine of logits, with a positive that mixes samples of one class.

    `L = -1/B sum_b [log s(t+) / (s(t+) + 1/M) + sum_{j of N} log (N/M) / (s(t-_j) + N/M)]`,
    `s(u) = exp(cos(z_b, u) / tau)`, `t+ = beta t_b + (1 - beta) mean_{i of n} t_i`, where t_i are teacher logits of n
    random training trials of b's class, t-_j those of N random trials of other classes and M is the number of training
    trials (Xu et al. 2023, ConDRK). The cross-entropy of the method is the loss `ce`, at weight 0.9 beside 0.1 here.
    The released code differs in two ways that look like slips and are not followed: the noise of the positive is C/M,
    from the logits' width in the place of the number of positives, and its cross-entropy gets probabilities as if they
    were logits.

    The teacher's logits of all training trials are kept in a memory, filled as the trials pass by and complete after
    one epoch; the choice is made among those that were seen, the batch and the sample itself included. Where a class
    has fewer than asked for, all are taken. The choice is a hash of a counter that is kept with the run.

    A trial without a label (-1) is of the class that its teacher gives the highest score.

    Args:
        context: Gives K and the number of training trials.
        beta: Share of the sample's own teacher logits in its positive, in [0, 1].
        positives: n, at least 1.
        negatives: N, at least 1; four times n in the paper.
        temperature: tau > 0.

    Raises:
        UsageError: A parameter has no such value, or the training part's size is unknown.
    """

    memory: Tensor
    memory_label: Tensor
    calls: Tensor

    def __init__(
        self,
        context: Context,
        *,
        beta: float = 0.8,
        positives: int = 4,
        negatives: int = 16,
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        check_positive("condrk", positives=positives, negatives=negatives, temperature=temperature)
        if not 0 <= beta <= 1:
            raise ParameterError(f"condrk: beta is {beta}, expected a number in [0, 1]", "beta")
        if context.train_size < 1:
            raise UsageError(
                "condrk needs the number of training trials, and the context says 0",
                hint="Give the context the number: Context(…, train_size=…).",
            )
        self.beta = beta
        self.positives = positives
        self.negatives = negatives
        self.temperature = temperature
        self.trials = context.train_size
        self.register_buffer("memory", torch.zeros(self.trials, context.classes))
        self.register_buffer("memory_label", torch.full((self.trials,), -1))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """The loss of logits `(B, K)`, the teacher's detached."""
        check_scores("condrk", student, teacher)
        student = at_least_float32(student)
        teacher = teacher.detach().to(student.dtype)
        with torch.no_grad():
            like, unlike, counts = self._drawn(teacher, batch)
            positive = self.beta * teacher + (1 - self.beta) * like
        own = unit(student, 1)
        with without_autocast(own):
            to_positive = (own * unit(positive, 1)).sum(1) / self.temperature
            to_negatives = (unlike @ own[:, :, None])[:, :, 0] / self.temperature
        log_noise = counts.clamp(min=1).log() - math.log(self.trials)
        drawn = torch.arange(unlike.shape[1], device=counts.device) < counts[:, None]
        log_ratio = F.logsigmoid(to_positive + math.log(self.trials))
        log_rest = F.logsigmoid(log_noise[:, None] - to_negatives).where(drawn, 0).sum(1)
        return -(log_ratio + log_rest).mean()

    def _drawn(self, teacher: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of like logits `(B, K)`, unlike ones of length 1 `(B, N, K)`, and how many of these count `(B,)`."""
        self.memory.index_copy_(0, batch.index, teacher.to(self.memory.dtype))
        label = torch.where(batch.label >= 0, batch.label, teacher.argmax(1))
        self.memory_label.index_copy_(0, batch.index, label)
        order = priorities(self.calls, batch.index, self.trials)
        self.calls += 1
        seen, same = self.memory_label >= 0, self.memory_label == label[:, None]
        like, of_class = self._first(order, seen & same, self.positives)
        unlike, of_others = self._first(order, seen & ~same, self.negatives)
        kept = torch.arange(like.shape[1], device=of_class.device) < of_class[:, None]
        # Never 0: each trial has just been written into the memory.
        mean = like.where(kept[:, :, None], 0).sum(1) / of_class[:, None]
        return mean.to(teacher.dtype), unit(unlike, 2).to(teacher.dtype), of_others

    def _first(self, order: Tensor, eligible: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """The memorised logits `(B, n, K)` of the eligible trials that come first, and their number `(B,)`."""
        wanted = min(wanted, self.trials)
        # Priorities are 0 or more, so that what is not eligible comes last.
        chosen = order.masked_fill(~eligible, -1).topk(wanted, dim=1).indices
        return self.memory[chosen], eligible.sum(1).clamp(max=wanted)
