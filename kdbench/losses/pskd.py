"""Adaptive choice among teachers: each sample follows the teacher that is surest of its label, or the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.losses.se import label_vectors_of
from kdbench.registry import loss
from kdbench.text.wording import counted
from kdbench.types import Batch, Context, Features


@loss(
    "pskd",
    project=False,
    all_teachers=True,
    needs=("semantic", "label_vectors"),
    reads=("logits", "semantic"),
    labels="needed",
)
class AdaptiveTeacher(nn.Module):
    """Soft targets and semantic feature of the teacher that gives the label the highest probability.

    `L = 1/B sum_b [r_b T^2 KL(p_k(b) || p_s) + mu MSE(f_s,b, g_b)]`, `k(b) = argmax_k softmax(t_k,b)[y_b]`, with p the
    softened probabilities, `r_b = 1` where teacher k(b) predicts the label and 0 else, and `g_b` the semantic feature
    of teacher k(b) where `r_b = 1`, else the vector of the label's name. A sample that no teacher knows thus follows
    the ground truth; its cross-entropy is the loss `ce` beside this one. In the style of the adaptive-confidence
    semantic loss of Ni et al., ACM MM 2022 (arXiv 2208.08090), whose formulas were not available: the choice follows
    their description, T and mu are ours. By default the teachers are there from the start; with `stages` they join one
    after the other, as in the paper's progressive scheme: in stage s of S, each an equal share of the training, these
    are the first M - S + s of the M teachers, in the order of the recipe.

    Args:
        context: Gives the label vectors `(K, S)` and the widths of the teachers.
        temperature: T > 0.
        semantic_weight: mu; 0 leaves the semantic term out.
        scale: `t2` or `none`, whether the factor `T^2` is there.
        stages: S. The branches of one teacher join together, or one by one where there is no other teacher.

    Raises:
        UsageError: A parameter has no such value, there are fewer teachers than stages, there are no label vectors or
            teachers, or the semantic term is asked for and a teacher has no semantic feature.
    """

    label_vectors: Tensor

    def __init__(
        self,
        context: Context,
        *,
        temperature: float = 4.0,
        semantic_weight: float = 1.0,
        scale: Literal["t2", "none"] = "t2",
        stages: int = 1,
    ) -> None:
        super().__init__()
        check_positive("pskd", temperature=temperature)
        if scale not in ("t2", "none"):
            raise unknown_value("scale", scale, ("t2", "none"), of="pskd")
        if not context.teachers:
            raise UsageError(
                "the loss 'pskd' chooses among teachers, and there is none",
                hint="Give the context the widths of one teacher branch or more.",
            )
        if semantic_weight and any(teacher.semantic is None for teacher in context.teachers):
            raise UsageError(
                "pskd: the semantic term needs the teacher's semantic feature, and the teacher has none",
                hint="Train the teacher with se (--set teacher.losses.se.weight=0.5) or leave the term out "
                "(--set student.losses.pskd.semantic_weight=0).",
            )
        self.register_buffer("label_vectors", label_vectors_of(context, "pskd"), persistent=False)
        self.temperature = temperature
        self.semantic_weight = semantic_weight
        self.scale = scale
        self._branches = _branches_of_stages(context, stages)
        self._stage = stages - 1
        self._followed: Tensor | None = None

    def at(self, progress: float) -> None:
        """Goes to the stage after a share of the training; a loss that is told nothing has all teachers."""
        self._stage = min(int(progress * len(self._branches)), len(self._branches) - 1)

    def forward(self, student: Features, teachers: Sequence[Features], batch: Batch) -> Tensor:
        """The loss against the branches of the teachers of this stage."""
        teachers = [teachers[place] for place in self._branches[self._stage]]
        for teacher in teachers:
            check_scores("pskd", student.logits, teacher.logits)
        scores = at_least_float32(torch.stack([teacher.logits for teacher in teachers])).detach()
        label = batch.label.expand(len(teachers), -1)[:, :, None]
        chosen = scores.log_softmax(2).gather(2, label)[:, :, 0].argmax(0)
        followed = _of(chosen, scores)
        right = followed.argmax(1) == batch.label
        self._followed = right.to(followed.dtype).mean()
        own = at_least_float32(student.logits) / self.temperature
        divergence = F.kl_div(
            own.log_softmax(1), (followed / self.temperature).log_softmax(1), reduction="none", log_target=True
        ).sum(1)
        total = divergence.where(right, 0).mean()
        if self.scale == "t2":
            total = total * self.temperature**2
        if self.semantic_weight:
            total = total + self.semantic_weight * self._semantic(student, teachers, batch, chosen, right)
        return total

    def diagnostics(self) -> dict[str, Tensor]:
        """Readings of the last call: `followed` is the share of samples that followed a teacher."""
        return {} if self._followed is None else {"followed": self._followed}

    def _semantic(
        self, student: Features, teachers: Sequence[Features], batch: Batch, chosen: Tensor, right: Tensor
    ) -> Tensor:
        given = [teacher.semantic for teacher in teachers if teacher.semantic is not None]
        if student.semantic is None or len(given) != len(teachers):
            raise UsageError(
                "pskd needs the semantic feature of student and teacher, and a network gave none",
                hint="Give both networks a semantic feature, or build the loss with semantic_weight=0.",
            )
        own = at_least_float32(student.semantic)
        target = _of(chosen, torch.stack(given)).detach().to(own.dtype)
        vectors = self.label_vectors[batch.label].to(own.dtype)
        return F.mse_loss(own, torch.where(right[:, None], target, vectors))


def _branches_of_stages(context: Context, stages: int) -> list[list[int]]:
    """Places of the teachers' branches in each stage."""
    names = context.teacher_names
    # Branches of one teacher alone are the teachers.
    owners: Sequence[object] = names if len(set(names)) > 1 else range(len(context.teachers))
    order = list(dict.fromkeys(owners))
    if not 1 <= stages <= len(order):
        raise ParameterError(
            f"pskd: stages = {stages}, and there {'is' if len(order) == 1 else 'are'} {counted(len(order), 'teacher')} "
            "that could join: expected from 1 to as many",
            "stages",
        )
    last = [order[: len(order) - stages + number] for number in range(1, stages + 1)]
    return [[place for place, owner in enumerate(owners) if owner in known] for known in last]


def _of(chosen: Tensor, values: Tensor) -> Tensor:
    """Each sample's row of its chosen teacher: `(B,)` and `(M, B, C)` to `(B, C)`."""
    return values.gather(0, chosen[None, :, None].expand(1, -1, values.shape[2]))[0]
