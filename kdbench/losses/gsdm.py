"""Graph-guided semantically discriminative mapping: where the evidence lies that an ablation takes away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import unknown_value
from kdbench.losses.maps import align_maps, chosen_stages
from kdbench.losses.numerics import at_least_float32, precision_of, unit, without_autocast
from kdbench.losses.se import label_vectors_of
from kdbench.losses.sgm import check_slope, constant_share, semantic_slope, slope_logits
from kdbench.registry import loss
from kdbench.types import Context, Features


@loss(
    "gsdm",
    project=False,
    needs=("ablated_logits", "label_vectors"),
    reads=("logits", "stages", "ablated_logits"),
    detaches=("logits",),
)
class SemanticallyDiscriminativeMapping(nn.Module):
    """Mean squared difference of the networks' evidence maps, mean over the stages.

    `A = ReLU(sum_c k F_c)`, aligned by `align_maps`, flattened and divided by its L2 norm; `L = mean_l MSE(A_s, A_t)`
    (Liu et al., IEEE TIP 2021). The slope `k = (S E - S_a E_a) / (S E)` is `semantic_slope` of the logits over
    `sqrt(K)`: the affinity is of the mean squared difference over the K classes. It gets no gradient, the maps do.

    The released code differs: its maps pass through numpy, so that nothing trains the student; they are resized by
    repeating the flat array, normalised along their height, and teacher and student see different trials. Its scaling
    of the maps to [0, 1] over the whole batch is left out: the norm takes the scale away again.

    Args:
        context: Gives the label vectors.
        slope: `sample` averages k over the semantic space, one number per sample, as the released code does; the norm
            takes its size away, so that it only says whether a sample has evidence (and its sign, with `clamp` off).
            `channel` pools k from S to the channels of the map, so that it weighs them against each other.
        clamp: Negative slopes count as zero.
        eps: Least denominator of the slope.
        slope_clip: Bound on the slope's entries; None for none.
        stages: Indices of the stages; None for all.
        ablation: What the ablated input lacks, for whoever computes its logits: `all` of it, or one random `channel`
            per sample.

    Raises:
        UsageError: There are no label vectors, a parameter has no such value, or a stage does not exist.
    """

    label_vectors: Tensor

    def __init__(
        self,
        context: Context,
        *,
        slope: Literal["sample", "channel"] = "sample",
        clamp: bool = True,
        eps: float = 1e-6,
        slope_clip: float | None = 10.0,
        stages: Sequence[int] | None = None,
        ablation: Literal["all", "channel"] = "all",
    ) -> None:
        super().__init__()
        if slope not in ("sample", "channel"):
            raise unknown_value("slope", slope, ("sample", "channel"), of="gsdm")
        check_slope("gsdm", eps=eps, slope_clip=slope_clip, ablation=ablation)
        self.register_buffer("label_vectors", label_vectors_of(context, "gsdm"), persistent=False)
        self.slope = slope
        self.clamp = clamp
        self.eps = eps
        self.slope_clip = slope_clip
        self.ablation = ablation
        self.stages = chosen_stages(stages, len(context.student.stages), len(context.teachers[0].stages))
        self._constant_share: Tensor | None = None

    def forward(self, student: Features, teacher: Features) -> Tensor:
        """The loss against one branch of the teacher."""
        slope, target_slope = self._slope(student), self._slope(teacher)
        self._constant_share = constant_share(slope)
        terms = []
        for stage in self.stages:
            own = _evidence(slope, student.stages[stage])
            target = _evidence(target_slope, teacher.stages[stage].detach())
            own, target = (unit(x.flatten(1), 1) for x in align_maps(own, target))
            terms.append(F.mse_loss(own, target))
        return torch.stack(terms).mean()

    def diagnostics(self) -> dict[str, Tensor]:
        """Readings of the last call, scalars on the device.

        `constant_share` is the share of samples whose slope is below 1e-4 in every entry: the student's map is zero or
        carries rounding alone, so that the loss teaches it nothing.
        """
        return {} if self._constant_share is None else {"constant_share": self._constant_share}

    @torch.no_grad()
    def _slope(self, features: Features) -> Tensor:
        """k, `(B, 1)` or `(B, S)`."""
        root = features.logits.shape[1] ** 0.5
        scores, ablated = (x / root for x in slope_logits("gsdm", features))
        slope = semantic_slope(scores, ablated, self.label_vectors, eps=self.eps, clip=self.slope_clip)
        slope = slope.clamp_min(0) if self.clamp else slope
        return slope.mean(1, keepdim=True) if self.slope == "sample" else slope


def _evidence(slope: Tensor, feature: Tensor) -> Tensor:
    """`ReLU(sum_c k_c F_c)`, `(B, C, *grid)` to `(B, 1, *grid)`."""
    slope = slope.to(precision_of(feature))
    if slope.shape[1] == 1:
        summed = feature.sum(1, keepdim=True, dtype=precision_of(feature))
        return F.relu(slope.view(-1, *[1] * (feature.dim() - 1)) * summed)
    # One weight for each channel, of as many as a label vector has entries.
    weights = F.adaptive_avg_pool1d(slope[:, None], feature.shape[1])
    with without_autocast(feature):
        return F.relu(weights @ at_least_float32(feature).flatten(2)).unflatten(2, feature.shape[2:])
