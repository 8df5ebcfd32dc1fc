"""Knowledge review: each stage of the student, together with the deeper ones, learns from the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.losses.checks import check_positive
from kdbench.losses.layers import Convolution, MapNorm, Pointwise
from kdbench.losses.maps import align_maps, chosen_stages, meeting_axes, pooled_to
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Context, Features

_SIZES = (4, 2, 1)


@loss("reviewkd", reads=("stages", "embedding"), labels="unused")
class KnowledgeReview(nn.Module):
    """Squared difference, on several scales, of the teacher's maps and the student's fused with its deeper ones.

    From the deepest stage up, `x = A(s)` (1x1 convolution and BatchNorm), which is fused with the result y of the stage
    below, resized to its grid by the nearest neighbour: `x <- x a + y b`, where a and b are maps in (0, 1), the sigmoid
    of a 1x1 convolution of both (ABF). `C(x)` (3x3 convolution and BatchNorm) is compared with the teacher's map t of
    that stage, `L = sum_l sum_k w_k mean (P_k C(x) - P_k t)^2 / sum_k w_k`: P_0 leaves the maps as they are, the others
    pool them by averages to 4, 2 and 1 along each axis where that is smaller, and `w_k` halves from one to the next
    (HCL). As Chen et al., CVPR 2021, have it in their code for classification; the deepest stage are the pooled
    features.

    3x3 convolutions have three taps along each axis of the grid. Where the grids of student and teacher differ, the
    authors resize the fused map to the teacher's; here `align_maps` brings both to one before. For a batch of one with
    maps of one position, which has no spread, BatchNorm takes the running statistics.

    Args:
        context: Gives the widths of both networks.
        stages: Indices of the stages that are reviewed, from the first to the last; None for all.
        pooled: Whether the embeddings are one more stage, the deepest.
        width: Channels of the fused maps, at most; fewer where the deepest of the student's has fewer.

    Raises:
        UsageError: `width` is not positive, or a stage does not exist in both networks.
    """

    def __init__(
        self,
        context: Context,
        *,
        stages: Sequence[int] | None = None,
        pooled: bool = True,
        width: int = 512,
    ) -> None:
        super().__init__()
        check_positive("reviewkd", width=width)
        ours, theirs = context.student, context.teachers[0]
        self.stages = chosen_stages(stages, len(ours.stages), len(theirs.stages))
        self.pooled = pooled
        widths = [(ours.stages[stage], theirs.stages[stage]) for stage in self.stages]
        widths += [(ours.embedding, theirs.embedding)] if pooled else []
        width = min(width, widths[-1][0])
        axes = meeting_axes(ours, theirs)
        self.fusions = nn.ModuleList(
            _Fusion(own, width, target, axes, fuse=depth > 0) for depth, (own, target) in enumerate(reversed(widths))
        )

    def forward(self, student: Features, teacher: Features) -> Tensor:
        """The loss of the maps `(B, C, *grid)` and the embeddings; the teacher's are detached."""
        pairs = [align_maps(student.stages[stage], teacher.stages[stage].detach()) for stage in self.stages]
        if self.pooled:
            point = [1] * (pairs[-1][0].dim() - 2)
            own, target = (at_least_float32(each) for each in (student.embedding, teacher.embedding.detach()))
            pairs.append((own.view(*own.shape, *point), target.view(*target.shape, *point)))
        terms = []
        fused: Tensor | None = None
        # From the deepest stage on, since each is fused with what the deeper ones have given.
        for fusion, (own, target) in zip(self.fusions, reversed(pairs), strict=True):
            fused, made = fusion(own, fused)
            terms.append(_on_all_scales(at_least_float32(made), target))
        return torch.stack(terms).sum()


class _Fusion(nn.Module):
    """A stage's map fused with the result of the deeper ones, and what it makes for the comparison."""

    def __init__(self, ours: int, width: int, theirs: int, axes: int, *, fuse: bool) -> None:
        super().__init__()
        self.inward = nn.Sequential(Pointwise(ours, width), MapNorm(width))
        self.outward = nn.Sequential(Convolution(width, theirs, axes=axes), MapNorm(theirs))
        self.attention = Pointwise(2 * width, 2, bias=True) if fuse else None

    def forward(self, own: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        fused = self.inward(own)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:])
            shares = self.attention(torch.cat([fused, deeper], 1)).sigmoid()
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        return fused, self.outward(fused)


def _on_all_scales(made: Tensor, target: Tensor) -> Tensor:
    terms, weights = [F.mse_loss(made, target)], [1.0]
    for size in _SIZES:
        grid = [min(size, full) for full in made.shape[2:]]
        # A map that is as small already would be compared twice.
        if grid != list(made.shape[2:]):
            terms.append(F.mse_loss(pooled_to(made, grid), pooled_to(target, grid)))
            weights.append(weights[-1] / 2)
    return torch.stack([weight * term for weight, term in zip(weights, terms, strict=True)]).sum() / sum(weights)
