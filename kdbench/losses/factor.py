"""Factor transfer: the student predicts a paraphrase of the teacher's last map."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.losses.maps import align_maps, chosen_stages
from kdbench.losses.numerics import at_least_float32, unit
from kdbench.registry import loss
from kdbench.types import Context

_SLOPE = 0.1


@loss("factor", on="stages", project=False)
class FactorTransfer(nn.Module):
    """Difference of the teacher's factors, made by a paraphraser, and the student's, made by a translator.

    `L = mean |x_t - x_s|^p + w mean (D(E(t)) - t)^2`. The factors `x_t = E(t)` and `x_s = T(s)` have `rate * C_t`
    channels and are divided by their sample's L2 norm; t and s are one stage's maps, aligned by `align_maps`
    (Kim et al., NeurIPS 2018, eq. 1-2, the mean over entries as torchdistill has it for p = 1).

    Two deviations from the paper. It trains the paraphraser (E, D) to reconstruct before the student's training; here
    that is the second term, trained beside the student, so that the targets move in the first steps. Its gradient
    reaches neither the student nor the teacher, and the first term's does not reach the paraphraser. And E, D and T,
    three layers each with leaky ReLU, are linear along the channels where the paper has 3x3 convolutions, since maps
    may have one, two or three axes.

    Args:
        context: Gives the widths of the stages.
        stage: Index of the stage.
        rate: Width of the factors over the width of the teacher's map, the paper's k.
        p: The power, at least 1.
        reconstruction: w > 0. The first term's entries are those of unit vectors, hence small, and its weight in a
            recipe is large (200); the default makes the product 1.

    Raises:
        UsageError: A parameter has no such value, or the stage does not exist in both networks.
    """

    def __init__(
        self,
        context: Context,
        *,
        stage: int = -1,
        rate: float = 0.5,
        p: float = 1,
        reconstruction: float = 0.005,
    ) -> None:
        super().__init__()
        if p < 1:
            raise ParameterError(f"factor: p is {p}, expected a number of at least 1", "p")
        if rate <= 0 or reconstruction <= 0:
            raise ParameterError(
                f"factor: rate is {rate} and reconstruction {reconstruction}; expected positive numbers",
                "rate",
                "reconstruction",
            )
        ours, theirs = context.student.stages, context.teachers[0].stages
        (self.stage,) = chosen_stages((stage,), len(ours), len(theirs), key="stage")
        self.p = p
        self.reconstruction = reconstruction
        wide = theirs[stage]
        factors = max(1, int(rate * wide))
        self.paraphraser = _layers(wide, wide, factors, factors)
        self.decoder = _layers(factors, factors, wide, wide)
        self.translator = _layers(ours[stage], ours[stage], factors, factors)
        self._error: Tensor | None = None

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage; the teacher's are detached."""
        own, target = align_maps(student[self.stage], teacher[self.stage].detach())
        dtype = next(self.parameters()).dtype
        own, target = own.flatten(2).to(dtype), target.flatten(2).to(dtype)
        factors = self.paraphraser(target)
        error = F.mse_loss(at_least_float32(self.decoder(factors)), target)
        self._error = error.detach()
        # The paraphraser learns from its reconstruction alone.
        difference = _direction(self.translator(own)) - _direction(factors.detach())
        distance = difference.abs() if self.p == 1 else difference.abs().pow(self.p)
        return distance.mean() + self.reconstruction * error

    def diagnostics(self) -> dict[str, Tensor]:
        """The paraphraser's mean squared error of reconstruction at the last call, a scalar on the device."""
        return {} if self._error is None else {"reconstruction": self._error}


def _layers(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Conv1d(a, b, 1), nn.LeakyReLU(_SLOPE))))


def _direction(factors: Tensor) -> Tensor:
    return unit(at_least_float32(factors).flatten(1), 1)
