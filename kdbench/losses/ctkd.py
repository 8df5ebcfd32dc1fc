"""Curriculum temperature: soft targets at a temperature that learns to make them harder to follow."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.losses.checks import check_positive, check_scores
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss


@loss("ctkd", on="logits", project=False)
class CurriculumTemperature(nn.Module):
    """KL divergence of the softened class probabilities, with a learnt temperature that works against the student.

    `L = T^2 / B sum_b KL(softmax(t_b / T) || softmax(s_b / T))`, `T = T_0 + R sigmoid(a)`, a one learnt number, 1 at
    the start (Li et al., AAAI 2023, the global temperature; theirs from a network for each sample is not here). The
    student lowers L and a raises it: a's gradient is multiplied by `-lambda`, and lambda rises from 0 to 1 as
    `(1 - cos(pi p / ramp)) / 2`, p the share of the training's steps that lie behind.

    The authors' code takes lambda from the number of the epoch, so that the first one has 2 % of it already. It gives a
    the student's weight decay, which a single number has not here.

    Args:
        lowest: T_0 > 0, the temperature that no T falls below.
        span: R > 0, how far above it T may rise.
        ramp: Share of the training after which lambda is 1; the authors' 10 of 240 epochs by default.

    Raises:
        UsageError: A parameter has no such value.
    """

    def __init__(self, *, lowest: float = 1.0, span: float = 20.0, ramp: float = 0.0417) -> None:
        super().__init__()
        check_positive("ctkd", lowest=lowest, span=span)
        if not 0 < ramp <= 1:
            raise ParameterError(f"ctkd: ramp is {ramp}, expected a share of the training in (0, 1]", "ramp")
        self.lowest = lowest
        self.span = span
        self.ramp = ramp
        self.position = nn.Parameter(torch.ones(()))
        self.at(0.0)

    def at(self, progress: float) -> None:
        """Sets lambda for a moment of the training.

        Args:
            progress: Share of the training's steps that have been taken.
        """
        self.reversal = 0.5 * (1 - math.cos(math.pi * min(progress / self.ramp, 1.0)))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of logits `(B, K)`, the teacher's detached."""
        check_scores("ctkd", student, teacher)
        student, teacher = at_least_float32(student), at_least_float32(teacher).detach()
        learnt = self._temperature().to(student.dtype)
        # The difference is 0, and its gradient is that of -T.
        temperature = learnt.detach() + self.reversal * (learnt.detach() - learnt)
        log_student, log_teacher = ((logits / temperature).log_softmax(1) for logits in (student, teacher))
        divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
        return temperature**2 * divergence

    def diagnostics(self) -> dict[str, Tensor]:
        """T, a scalar on the device."""
        return {"temperature": self._temperature().detach()}

    def _temperature(self) -> Tensor:
        return self.lowest + self.span * self.position.sigmoid()
