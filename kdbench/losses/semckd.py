"""Semantic calibration: every stage of the student learns from those of the teacher that relate the samples alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, unknown_value
from kdbench.losses.checks import check_positive
from kdbench.losses.layers import bottleneck
from kdbench.losses.maps import align_maps, chosen_stages, meeting_axes
from kdbench.losses.numerics import at_least_float32, gram, power_of_two, unit
from kdbench.registry import loss
from kdbench.types import Context

_COLUMNS = ("sorted", "batch")


@loss("semckd", on="stages", project=False, labels="unused")
class SemanticCalibration(nn.Module):
    """Squared differences of all pairs of a student's stage and a teacher's, weighted by attention.

    `L = 1/(B S) sum_b sum_ij a_bij mean (r_ij(s_i) - t_j)^2`, the mean over the entries of sample b, for S stages of
    the student. `a_bi` is the softmax over the teacher's stages j of `<q_bi, k_bj> / T`; q and k are unit vectors that
    an MLP of each stage makes of sample b's row of the matrix of inner products of the batch's maps. `r_ij` is a 1x1, a
    3x3 and a 1x1 convolution with BatchNorm and ReLU between (Chen et al., AAAI 2021). 3x3 convolutions have three taps
    along each axis of the grid on which `align_maps` brings a pair.

    The authors' MLP reads a row in the order of the batch, so that its weights mean nothing but places in a shuffled
    batch, and batches of another size are left out. Here the row is sorted, its largest entry first, and read at
    `samples` evenly spaced places, so that neither order nor size of the batch matter. `columns="batch"` keeps the
    authors' order; it cuts a row to `samples` entries or fills it up with zeros. For a batch of one with maps of one
    position, which has no spread, BatchNorm takes the running statistics.

    Args:
        context: Gives the widths of the stages.
        stages: Indices of the stages of both networks; None for all.
        samples: Entries of a row that the MLPs read; the batch size in the authors' code.
        columns: `sorted` or `batch`, the order of a row's entries.
        temperature: T > 0.
        reduction_factor: `samples` over the length of q and k.
        width_factor: Width of r over that of the teacher's stage.

    Raises:
        UsageError: A parameter has no such value, or a stage does not exist in both networks.
    """

    def __init__(
        self,
        context: Context,
        *,
        stages: Sequence[int] | None = None,
        samples: int = 64,
        columns: Literal["sorted", "batch"] = "sorted",
        temperature: float = 1.0,
        reduction_factor: int = 4,
        width_factor: float = 2.0,
    ) -> None:
        super().__init__()
        check_positive("semckd", temperature=temperature, reduction_factor=reduction_factor, width_factor=width_factor)
        if columns not in _COLUMNS:
            raise unknown_value("columns", columns, _COLUMNS, of="semckd")
        if samples < reduction_factor:
            raise ParameterError(
                f"semckd: samples is {samples}, expected at least reduction_factor, {reduction_factor}",
                instead={"samples": reduction_factor},
            )
        ours, theirs = context.student.stages, context.teachers[0].stages
        self.stages = chosen_stages(stages, len(ours), len(theirs))
        self.samples = samples
        self.sorts = columns == "sorted"
        self.temperature = temperature
        length = samples // reduction_factor
        axes = meeting_axes(context.student, context.teachers[0])
        self.queries = nn.ModuleList(_embedding(samples, length) for _ in self.stages)
        self.keys = nn.ModuleList(_embedding(samples, length) for _ in self.stages)
        self.regressors = nn.ModuleList(
            nn.ModuleList(
                bottleneck(ours[own], max(1, int(width_factor * theirs[target])), theirs[target], axes=axes)
                for target in self.stages
            )
            for own in self.stages
        )
        self._attention: Tensor | None = None

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage; the teacher's are detached."""
        own = [student[stage] for stage in self.stages]
        targets = [teacher[stage].detach() for stage in self.stages]
        attention = (self._read(own, self.queries) @ self._read(targets, self.keys).mT / self.temperature).softmax(2)
        rows: list[Any] = list(self.regressors)
        errors = [
            torch.stack(
                [_error(regress, *align_maps(ours, theirs)) for regress, theirs in zip(row, targets, strict=True)]
            )
            for row, ours in zip(rows, own, strict=True)
        ]
        self._attention = attention.detach()
        return (attention * torch.stack(errors).permute(2, 0, 1)).sum(2).mean()

    def diagnostics(self) -> dict[str, Tensor]:
        """The mean of the largest attention that a student's stage paid in the last call, a scalar on the device."""
        return {} if self._attention is None else {"attention": self._attention.amax(2).mean()}

    def _read(self, maps: Sequence[Tensor], embeddings: nn.ModuleList) -> Tensor:
        """Unit vectors `(B, S, length)`."""
        read = [embed(self._row(feature)) for feature, embed in zip(maps, embeddings, strict=True)]
        return torch.stack([_direction(at_least_float32(each)) for each in read], 1)

    def _row(self, feature: Tensor) -> Tensor:
        """What an MLP reads of each sample's inner products with the batch, `(B, samples)`."""
        products = gram(at_least_float32(feature).flatten(1))
        if not self.sorts:
            return F.pad(products, (0, self.samples - len(products)))
        # Linear interpolation as a product: the sorted row of a batch of any size becomes `samples` numbers.
        places = torch.linspace(0, len(products) - 1, self.samples, dtype=products.dtype, device=products.device)
        ranks = torch.arange(len(products), dtype=products.dtype, device=products.device)
        return products.sort(1, descending=True).values @ (1 - (places - ranks[:, None]).abs()).relu()


def _embedding(inputs: int, length: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 2 * length), nn.ReLU(), nn.Linear(2 * length, length))


def _direction(vectors: Tensor) -> Tensor:
    """Unit vectors, also of lengths whose square leaves the range of float32."""
    return unit(vectors / power_of_two(vectors.detach().abs().amax(1, keepdim=True)), 1)


def _error(regress: nn.Module, own: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of each sample `(B,)`."""
    return (at_least_float32(regress(own)) - target).square().flatten(1).mean(1)
