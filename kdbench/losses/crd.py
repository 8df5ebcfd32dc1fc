"""Contrastive representation distillation: the pair of a sample is told from pairs of unlike samples."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.losses.checks import check_positive, check_samples
from kdbench.losses.numerics import unit, without_autocast
from kdbench.registry import loss
from kdbench.types import Batch, Context

_SIDES = 2
_UNSEEN = -2


@loss("crd", on="embedding", project=False, labels="optional", frozen_teacher=("negatives", "memory"))
class ContrastiveRepresentation(nn.Module):
    """Noise-contrastive estimate of whether two embeddings belong to one sample, from both sides.

    `L = -1/B sum_b sum_sides [log h(s_b, t_b) + sum_{n of N_b} log(1 - h)]`, `h(u, v) = p / (p + N_b / M)` with
    `p = exp(<u, v> / tau) / Z`, M the number of training trials (Tian, Krishnan and Isola, ICLR 2020, eq. 17-19). u
    and v are learnt linear maps of both embeddings to a common width, divided by their L2 norm. Once the student's
    sample is held against other samples of the teacher, once the reverse. The negatives are trials of other classes,
    as the authors draw them (`same_class` takes all other trials). Z is the mean of `exp(<u, v> / tau)` over the
    negatives, times M, as the first batch has it; it is kept with the run.

    `negatives="batch"` takes them from the batch. `negatives="memory"` keeps an exponential mean of every trial's
    embeddings on both sides, `(M, width)`, filled as the trials pass by, and takes all that were seen. Unlike the
    authors' code, which draws 16384 of them and reads the positive from the memory too, one epoch old, nothing is
    drawn and the positive is the present pair. A sample without negatives counts as 0, so a batch of one sample is 0
    without a memory.

    Args:
        context: Gives the widths of both embeddings, and for the memory the number of training trials.
        width: Width of the common space.
        temperature: tau > 0.
        negatives: `batch` or `memory`.
        momentum: Share of its old value that a memorised embedding keeps, in [0, 1).
        same_class: Take other trials of the sample's own class as negatives too.

    Raises:
        UsageError: A parameter has no such value, there is no teacher, or the training part's size is unknown.
    """

    log_partition: Tensor
    memory: Tensor
    memory_label: Tensor

    def __init__(
        self,
        context: Context,
        *,
        width: int = 128,
        temperature: float = 0.07,
        negatives: Literal["batch", "memory"] = "batch",
        momentum: float = 0.5,
        same_class: bool = False,
    ) -> None:
        super().__init__()
        check_positive("crd", width=width, temperature=temperature)
        if negatives not in ("batch", "memory"):
            raise unknown_value("negatives", negatives, ("batch", "memory"), of="crd")
        if not 0 <= momentum < 1:
            raise ParameterError(f"crd: momentum is {momentum}, expected a number in [0, 1)", "momentum")
        if len(context.teachers) != 1:
            raise UsageError(
                f"crd compares with one teacher branch, and there are {len(context.teachers)}",
                hint="Build one loss for each teacher branch, from a context of that branch.",
            )
        if context.train_size < 1:
            raise UsageError(
                "crd needs the number of training trials, and the context says 0",
                hint="Give the context the number: Context(…, train_size=…).",
            )
        self.temperature = temperature
        self.negatives = negatives
        self.momentum = momentum
        self.same_class = same_class
        self.trials = context.train_size
        self.embed_student = nn.Linear(context.student.embedding, width)
        self.embed_teacher = nn.Linear(context.teachers[0].embedding, width)
        # Infinite until the first batch with negatives: safetensors and comparisons know no "none".
        self.register_buffer("log_partition", torch.full((_SIDES,), math.inf))
        if negatives == "memory":
            self.register_buffer("memory", torch.zeros(_SIDES, self.trials, width))
            self.register_buffer("memory_label", torch.full((self.trials,), _UNSEEN))

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """The loss of embeddings `(B, D)` and `(B, D')`, the teacher's detached."""
        check_samples("crd", student, teacher)
        ours = _embedded(self.embed_student, student)
        theirs = _embedded(self.embed_teacher, teacher.detach())
        candidates, label, index = torch.stack([ours, theirs]), batch.label, batch.index
        seen = torch.ones_like(label, dtype=torch.bool)
        if self.negatives == "memory":
            self._remember(candidates.detach(), batch)
            # A copy, since the next call writes into the memory before this one's gradient is taken.
            candidates, label = self.memory.clone(), self.memory_label.clone()
            seen = label > _UNSEEN
            index = torch.arange(self.trials, device=label.device)
        unlike = (index != batch.index[:, None]) & seen
        if not self.same_class:
            # A trial without a label (-1) may be of any class, so it counts as unlike.
            unlike = unlike & ((label != batch.label[:, None]) | (label < 0) | (batch.label < 0)[:, None])
        positive = (ours * theirs).sum(1) / self.temperature
        sides = zip((ours, theirs), candidates.flip(0), range(_SIDES), strict=True)
        return torch.stack([self._contrast(positive, *side, unlike) for side in sides]).sum()

    def _contrast(self, positive: Tensor, anchor: Tensor, candidates: Tensor, side: int, unlike: Tensor) -> Tensor:
        with without_autocast(anchor):
            scores = anchor @ candidates.T / self.temperature
        log_partition = self._log_partition(scores.detach(), side, unlike)
        count = unlike.sum(1)
        # h = sigmoid(log p - log(N / M)), which neither overflows nor needs an eps.
        log_noise = count.clamp(min=1).log() - math.log(self.trials) + log_partition
        log_ratio = F.logsigmoid(positive - log_noise)
        log_rest = F.logsigmoid(log_noise[:, None] - scores).where(unlike, 0).sum(1)
        return -(log_ratio + log_rest).where(count > 0, 0).mean()

    @torch.no_grad()
    def _log_partition(self, scores: Tensor, side: int, unlike: Tensor) -> Tensor:
        count = unlike.sum()
        total = scores.masked_fill(~unlike, -math.inf).flatten().logsumexp(0)
        estimate = torch.where(count > 0, total - count.log() + math.log(self.trials), math.inf)
        stored = self.log_partition[side]
        known = torch.where(stored.isinf(), estimate, stored)
        self.log_partition[side] = known
        return known.where(known.isfinite(), 0)

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, batch: Batch) -> None:
        stored = self.memory[:, batch.index]
        # A trial that is seen for the first time has no memory to be mixed with.
        momentum = torch.where(self.memory_label[batch.index] > _UNSEEN, self.momentum, 0.0)[:, None]
        mixed = F.normalize(momentum * stored + (1 - momentum) * embeddings, dim=2)
        self.memory.index_copy_(1, batch.index, mixed)
        self.memory_label.index_copy_(0, batch.index, batch.label)


def _embedded(layer: nn.Linear, embedding: Tensor) -> Tensor:
    embedding = embedding.flatten(1).to(layer.weight.dtype)
    with without_autocast(embedding):
        return unit(layer(embedding), 1)
