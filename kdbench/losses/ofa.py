"""One for all: exits of the student's stages, and its logits, follow the teacher with a strengthened target class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.maps import chosen_stages
from kdbench.losses.numerics import at_least_float32
from kdbench.losses.targets import target_class
from kdbench.registry import loss
from kdbench.types import Batch, Context, Features


@loss("ofa", project=False, reads=("logits", "stages"), labels="optional")
class OneForAll(nn.Module):
    """Cross-entropy of the student's scores, and of exits of its stages, with the teacher's strengthened probabilities.

    `L = l(s) + w sum_i l(exit_i(F_i))`, `l(s) = -1/B sum_b sum_k [(p_t,k + y_k)^eps - y_k] log p_s,k` with p the
    softmax of the logits over T and y the label, one-hot (Hao et al., NeurIPS 2023, as their `ofa_loss` has it). With
    eps = 1 this is the cross-entropy with the teacher's probabilities; a larger eps gives the target class
    `(1 + p_t,y)^eps - 1` and takes from the others. There is no factor `T^2`, and the value is not 0 where the student
    equals the teacher. What maps of unlike architectures have in common are classes: the teacher's maps are not read.

    An exit is the mean over the grid and a linear layer, for maps of every rank. The authors' exits of a convolutional
    student are separable convolutions down to the last stage's grid before the mean, those of a transformer blocks of
    attention. The target class of a trial without a label (-1) is the one that the teacher gives the highest score.

    Args:
        context: Gives the widths of the student's stages and the number of classes.
        stages: Indices of the stages that have an exit; None for all.
        eps: The power, positive; the authors take 1 to 1.5.
        temperature: T > 0.
        exit_weight: w.

    Raises:
        UsageError: A parameter has no such value, or a stage does not exist.
    """

    def __init__(
        self,
        context: Context,
        *,
        stages: Sequence[int] | None = None,
        eps: float = 1.0,
        temperature: float = 1.0,
        exit_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive("ofa", eps=eps, temperature=temperature)
        widths = context.student.stages
        self.stages = chosen_stages(stages, len(widths), len(widths))
        self.eps = eps
        self.temperature = temperature
        self.exit_weight = exit_weight
        self.exits = nn.ModuleList(nn.Linear(widths[stage], context.classes) for stage in self.stages)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The loss against one branch of the teacher, of which the logits `(B, K)` are read."""
        check_scores("ofa", student.logits, teacher.logits)
        logits = at_least_float32(teacher.logits).detach()
        # To make a one-hot vector of it, F.one_hot would read the device.
        label = torch.zeros_like(logits).scatter(1, target_class(batch, logits)[:, None], 1)
        target = ((logits / self.temperature).softmax(1) + label) ** self.eps - label
        exits = [self._loss(self._exit(*each, student), target) for each in zip(self.stages, self.exits, strict=True)]
        return self._loss(student.logits, target) + self.exit_weight * torch.stack(exits).sum()

    def _exit(self, stage: int, layer: nn.Module, student: Features) -> Tensor:
        pooled: Tensor = at_least_float32(student.stages[stage]).flatten(2).mean(2)
        return layer(pooled.to(layer.weight.dtype))  # type: ignore[arg-type]

    def _loss(self, scores: Tensor, target: Tensor) -> Tensor:
        scores = at_least_float32(scores) / self.temperature
        return F.cross_entropy(scores, target.to(scores.dtype))
