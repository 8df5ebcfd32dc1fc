"""Knowledge diffusion: the student's map is denoised by a model of the teacher's before they are compared."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.losses.checks import check_positive
from kdbench.losses.draws import normals, priorities
from kdbench.losses.layers import Convolution, MapNorm, Pointwise
from kdbench.losses.maps import align_maps, chosen_stages, meeting_axes
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Batch, Context

_TIMES = 1000
_FIRST_BETA, _LAST_BETA = 1e-4, 0.02


@loss("diffkd", on="stages", project=False, labels="unused")
class KnowledgeDiffusion(nn.Module):
    """Squared difference of the teacher's code and the student's denoised one, with what trains denoiser and code.

    `L = mean (z - P(D(r(s))))^2 + w_d mean (e(sqrt(A_t) z + sqrt(1 - A_t) n, t) - n)^2 + w_r mean (t - d(z))^2`, where
    z is the teacher's map t after a 1x1 convolution with BatchNorm, d the 1x1 convolution back, r a 1x1 convolution of
    the student's map s and P one with BatchNorm. The denoiser e predicts the noise n in z after t of 1000 steps, for
    each sample a t by chance; `A_t` is the product of `1 - beta` up to t, beta from 1e-4 to 0.02. D mixes `r(s)` with
    noise, `a r(s) + (1 - a) n`, a learnt from `r(s)`, and takes steps of DDIM from the middle of the 1000 down to 0. e
    is two residual bottlenecks (1x1, 3x3, 1x1 convolution, each with BatchNorm), a 1x1 convolution and BatchNorm, after
    an embedding of t is added (Huang et al., NeurIPS 2023, as their code has it, both weights 1).

    z is fixed in the first two terms. The authors refine the logits in the same way; here only the maps of one stage.
    3x3 convolutions have three taps along each axis of the grid. The draws come from a counter and the trials'
    positions in the training part, so that they touch no global random state and do not depend on the order of the
    batch. For a batch of one with maps of one position, which has no spread, BatchNorm takes the running statistics.

    Args:
        context: Gives the widths of the stages.
        stage: Index of the stage.
        steps: Steps of DDIM, 1 to 500.
        width: Channels of z; None for half of the teacher's. 0 leaves the code out: z is the teacher's map.
        diffusion: w_d, not negative.
        reconstruction: w_r, not negative; without effect where there is no code.

    Raises:
        UsageError: A parameter has no such value, or the stage does not exist in both networks.
    """

    calls: Tensor
    kept: Tensor

    def __init__(
        self,
        context: Context,
        *,
        stage: int = -1,
        steps: int = 5,
        width: int | None = None,
        diffusion: float = 1.0,
        reconstruction: float = 1.0,
    ) -> None:
        super().__init__()
        if not 1 <= steps <= _TIMES // 2 or int(steps) != steps:
            raise ParameterError(f"diffkd: steps is {steps}, expected a whole number from 1 to {_TIMES // 2}", "steps")
        if min(diffusion, reconstruction) < 0:
            raise ParameterError(
                f"diffkd: diffusion is {diffusion} and reconstruction {reconstruction}; expected no negative numbers",
                "diffusion",
                "reconstruction",
            )
        ours, theirs = context.student, context.teachers[0]
        (self.stage,) = chosen_stages((stage,), len(ours.stages), len(theirs.stages), key="stage")
        target = theirs.stages[stage]
        if width is None:
            width = max(1, target // 2)
        if width:
            check_positive("diffkd", width=width)
        self.weights = (diffusion, reconstruction)
        self.coded = width > 0
        inner, axes = width or target, meeting_axes(ours, theirs)
        if self.coded:
            self.encoder = nn.Sequential(Pointwise(target, inner, bias=True), MapNorm(inner))
            self.decoder = Pointwise(inner, target, bias=True)
        self.inward = Pointwise(ours.stages[stage], inner, bias=True)
        self.share = nn.Sequential(_Residual(inner, 8, axes), _Mean(), nn.Linear(inner, 2))
        self.denoiser = _Denoiser(inner, axes)
        self.outward = nn.Sequential(Pointwise(inner, inner, bias=True), MapNorm(inner))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        kept = (1 - torch.linspace(_FIRST_BETA, _LAST_BETA, _TIMES)).cumprod(0)
        self.register_buffer("kept", kept, persistent=False)
        gap = _TIMES // (2 * steps)
        times = [gap * step for step in reversed(range(steps))]
        # The step from time 0 leads to a map without any noise.
        self.schedule = [(time, kept[time].item(), kept[time - gap].item() if time else 1.0) for time in times]

    def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage; the teacher's are detached."""
        own, target = align_maps(student[self.stage], teacher[self.stage].detach())
        diffusion, reconstruction = self.weights
        code, rebuilt = target, None
        if self.coded:
            coded = at_least_float32(self.encoder(target))
            # The code learns from its reconstruction alone: the student's error must not make it easier to meet.
            rebuilt, code = F.mse_loss(at_least_float32(self.decoder(coded)), target), coded.detach()
        total = F.mse_loss(at_least_float32(self.outward(self._denoised(own, batch.index))), code)
        total = total + diffusion * self._surprise(code, batch.index)
        return total if rebuilt is None else total + reconstruction * rebuilt

    def _denoised(self, own: Tensor, index: Tensor) -> Tensor:
        """`D(r(s))`."""
        feature = at_least_float32(self.inward(own))
        share = at_least_float32(self.share(feature)).softmax(1)[:, 0].view(-1, *[1] * (feature.dim() - 1))
        feature = share * feature + (1 - share) * self._noise(feature, index)
        for time, kept, next_kept in self.schedule:
            noise = at_least_float32(self.denoiser(feature, torch.full_like(index, time)))
            # A step without chance: the clean map as it looks now, with the same noise in the next time's amount.
            clean = (feature - (1 - kept) ** 0.5 * noise) / kept**0.5
            feature = next_kept**0.5 * clean + (1 - next_kept) ** 0.5 * noise
        return feature

    def _surprise(self, code: Tensor, index: Tensor) -> Tensor:
        """Mean squared error of the noise that the denoiser finds in the code."""
        time = priorities(self.calls, index, 1)[:, 0] % _TIMES
        noise = self._noise(code, index)
        kept = self.kept[time].to(code.dtype).view(-1, *[1] * (code.dim() - 1))
        found = self.denoiser(kept.sqrt() * code + (1 - kept).sqrt() * noise, time)
        return F.mse_loss(at_least_float32(found), noise)

    def _noise(self, like: Tensor, index: Tensor) -> Tensor:
        # The same count would draw the same noise again.
        self.calls += 1
        return normals(self.calls, index, like[0].numel()).to(like.dtype).view(like.shape)


class _Denoiser(nn.Module):
    """The noise in a map `(B, C, *grid)` after as many steps as `time` `(B,)` says."""

    def __init__(self, width: int, axes: int) -> None:
        super().__init__()
        self.times = nn.Embedding(_TIMES, width)
        self.layers = nn.Sequential(
            *(_Residual(width, 4, axes), _Residual(width, 4, axes)), Pointwise(width, width, bias=True), MapNorm(width)
        )

    def forward(self, feature: Tensor, time: Tensor) -> Tensor:
        shift = self.times(time)
        return cast("Tensor", self.layers(feature + shift.view(*shift.shape, *[1] * (feature.dim() - 2))))


class _Residual(nn.Module):
    """A bottleneck beside the map itself; BatchNorm after every convolution, ReLU after the first two."""

    def __init__(self, width: int, factor: int, axes: int) -> None:
        super().__init__()
        narrow = max(1, width // factor)
        self.layers = nn.Sequential(
            *(Pointwise(width, narrow, bias=True), MapNorm(narrow), nn.ReLU()),
            *(Convolution(narrow, narrow, axes=axes, bias=True), MapNorm(narrow), nn.ReLU()),
            *(Pointwise(narrow, width, bias=True), MapNorm(width)),
        )

    def forward(self, feature: Tensor) -> Tensor:
        return cast("Tensor", self.layers(feature) + feature)


class _Mean(nn.Module):
    """Over the positions, `(B, C, *grid)` to `(B, C)`."""

    def forward(self, feature: Tensor) -> Tensor:
        return feature.flatten(2).mean(2)
