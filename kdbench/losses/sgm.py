"""Semantic graph mapping: feature maps weighted by how the semantic graph reacts to losing the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.losses.graph import normalized_affinity
from kdbench.losses.maps import align_maps, chosen_stages
from kdbench.losses.numerics import at_least_float32, precision_of, unit, widest, without_autocast
from kdbench.losses.se import label_vectors_of
from kdbench.registry import loss
from kdbench.types import Context, Features

_LAYER_NORM_EPS = 1e-5
_LARGEST = 1e15  # its square, summed over the channels, is still finite in float32
_CONSTANT_SLOPE = 1e-4
Pooling: TypeAlias = Literal["adaptive", "linear", "first"]
_POOLINGS = ("adaptive", "linear", "first")
_ORDERS = ("align_first", "map_first")
_GRAPHS = ("scores", "features")


def semantic_slope(
    scores: Tensor,
    ablated_scores: Tensor,
    label_embeddings: Tensor,
    *,
    eps: float = 1e-6,
    clip: float | None = None,
    nodes: Tensor | None = None,
) -> Tensor:
    """Relative change of the graph-smoothed label vectors when the input is taken away.

    `k = (L E - L_a E_a) / (L E)`, elementwise, with L the normalised affinity of the batch and E the label vectors of
    the predicted classes (Yuan et al., Scientific Reports 14, 2024, eq. 12-14).

    Args:
        scores: Score vectors of the batch `(B, K)`, the ones that the affinity is to be taken of (probabilities or
            logits, the caller decides); their argmax is the predicted class.
        ablated_scores: Score vectors of the ablated inputs `(B, K)`.
        label_embeddings: Vectors of the class names `(K, S)`.
        eps: Denominators smaller than this take this value, with their sign (zero counts as positive).
        clip: Bound on |k|; None for none.
        nodes: What L is the affinity of, one vector a sample `(B, D)`; None for the scores. L_a stays that of the
            ablated scores: where all of the input is ablated, its rows are equal, and so are all its edges, whatever
            they are taken of.

    Returns:
        k `(B, S)`, finite, float32 or, for float64 scores, float64. The gradient reaches the scores, or the nodes,
        through L alone, since an argmax has none.
    """
    precision = precision_of(scores)
    vectors = widest(label_embeddings)
    with without_autocast(scores):
        smoothed = normalized_affinity(widest(scores if nodes is None else nodes)) @ vectors[scores.argmax(1)]
        ablated = normalized_affinity(widest(ablated_scores)) @ vectors[ablated_scores.argmax(1)]
    # A divisor near 0 keeps its sign.
    floor = torch.full_like(smoothed, eps).where(smoothed >= 0, -eps)
    slope = (smoothed - ablated) / smoothed.where(smoothed.abs() >= eps, floor)
    # A quotient in float64 may leave the range of what it is cast to.
    bound = torch.finfo(precision).max if clip is None else clip
    return slope.clamp(-bound, bound).to(precision)


def semantic_map(slope: Tensor, feature: Tensor, *, pooling: Pooling = "adaptive") -> Tensor:
    """Feature map weighted by the slope, then normalised over its channels.

    `M = LayerNorm(k * F)` (eq. 15), the LayerNorm without affine parameters, eps 1e-5. The paper does not say how the
    slope comes from S entries to the channels of the map.

    Args:
        slope: k `(B, S)`.
        feature: F `(B, C, *grid)`.
        pooling: How: by `adaptive` averages, `linear` interpolation, or the `first` C entries, repeated where S < C.

    Returns:
        M `(B, C, *grid)`, float32 or more; finite for every finite input.
    """
    feature = at_least_float32(feature)
    channels = feature.shape[1]
    weights = _per_channel(slope.to(feature.dtype), channels, pooling)
    tokens = feature.flatten(2).transpose(1, 2)
    weighted = (weights[:, None] * tokens).clamp(-_LARGEST, _LARGEST)
    normalised = F.layer_norm(weighted, (channels,), eps=_LAYER_NORM_EPS)
    return normalised.transpose(1, 2).reshape(feature.shape)


def _per_channel(slope: Tensor, channels: int, pooling: Pooling) -> Tensor:
    """K `(B, S)` to `(B, C)`."""
    if pooling == "adaptive":
        return F.adaptive_avg_pool1d(slope[:, None], channels)[:, 0]
    if pooling == "linear":
        return F.interpolate(slope[:, None], size=channels, mode="linear", align_corners=False)[:, 0]
    # As many copies as cover the channels, and the rest cut off.
    return slope.repeat(1, -(-channels // slope.shape[1]))[:, :channels]


def check_slope(owner: str, *, eps: float, slope_clip: float | None, ablation: str) -> None:
    """Checks the parameters of a loss that takes a slope.

    Raises:
        UsageError: One has no such value; the message names the loss, `owner`.
    """
    if ablation not in ("all", "channel"):
        raise unknown_value("ablation", ablation, ("all", "channel"), of=owner)
    if eps <= 0 or (slope_clip is not None and slope_clip <= 0):
        raise ParameterError(
            f"{owner}: eps is {eps} and slope_clip {slope_clip}; expected positive numbers", "eps", "slope_clip"
        )


def slope_logits(owner: str, features: Features) -> tuple[Tensor, Tensor]:
    """The logits, and those of the ablated input, detached; `(B, K)` each, float32 or wider.

    Raises:
        UsageError: The network gave no logits of an ablated input.
    """
    if features.ablated_logits is None:
        raise UsageError(
            f"the loss '{owner}' needs the logits of the ablated input, and the network gave none",
            hint="Give it Features with ablated_logits, the network's logits of the input with its features removed.",
        )
    return at_least_float32(features.logits), at_least_float32(features.ablated_logits).detach()


def constant_share(slope: Tensor) -> Tensor:
    """The share of samples whose slope `(B, S)` is below 1e-4 in every entry; a scalar."""
    return (slope.abs().amax(1) < _CONSTANT_SLOPE).to(slope.dtype).mean()


@loss(
    "sgm",
    project=False,
    needs=("ablated_logits", "label_vectors"),
    reads=("logits", "stages", "embedding", "ablated_logits"),
    detaches=("logits", "embedding"),
)
class SemanticGraphMapping(nn.Module):
    """Mean squared error between the semantic maps of student and teacher, mean over the stages.

    `L_SGM = 1/(s-1) sum_i MSE(M_S^i, M_T^i)` (Yuan et al., Scientific Reports 14, 2024, eq. 12-16); the mean over the
    teacher's branches is taken outside, by one call per branch. Maps are aligned by `align_maps`; where the channels
    of a stage differ, a learnt linear brings the student's to the teacher's.

    Args:
        context: Gives the label vectors and the widths of the stages.
        scores: Score vectors of the graph: `softmax` of the logits, or the `logits`.
        graph: What the graph's nodes are: the `scores`, or the pooled `features`, each divided by its length, since
            distances of plain ones grow with their width until no edge is left. The classes are those of the scores.
        eps: Least denominator of the slope.
        slope_clip: Bound on the slope's entries; None for none. Without it a few channels hold nearly all energy.
        slope_gradient: Let the gradient pass through the student's slope too.
        stages: Indices of the stages; None for all but the last.
        ablation: What the ablated input lacks, for whoever computes its logits: `all` of it, or one random `channel`
            per sample.
        order: `align_first` brings both maps to one grid (the mean over time, then pooling) and to the teacher's
            channels before k and the LayerNorm, so that both sides are compared as they are normalised; `map_first`
            takes k and the LayerNorm on each network's own map, and aligns what comes out. The paper does not say.
        slope_pooling: How k comes from S entries to C channels; see `semantic_map`.
        affine: Whether the student's LayerNorm has a gain and a bias for each channel, which are learnt; the teacher's
            has none, so that they cannot vanish on both sides.

    Raises:
        UsageError: There are no label vectors or no teacher, a parameter has no such value, or a stage does not exist.
    """

    label_vectors: Tensor

    def __init__(
        self,
        context: Context,
        *,
        scores: Literal["softmax", "logits"] = "softmax",
        eps: float = 1e-6,
        slope_clip: float | None = 10.0,
        slope_gradient: bool = False,
        stages: Sequence[int] | None = None,
        ablation: Literal["all", "channel"] = "all",
        order: Literal["align_first", "map_first"] = "align_first",
        slope_pooling: Pooling = "adaptive",
        affine: bool = False,
        graph: Literal["scores", "features"] = "scores",
    ) -> None:
        super().__init__()
        if graph not in _GRAPHS:
            raise unknown_value("graph", graph, _GRAPHS, of="sgm")
        if order not in _ORDERS:
            raise unknown_value("order", order, _ORDERS, of="sgm")
        if slope_pooling not in _POOLINGS:
            raise unknown_value("slope_pooling", slope_pooling, _POOLINGS, of="sgm")
        if scores not in ("softmax", "logits"):
            raise unknown_value("scores", scores, ("softmax", "logits"), of="sgm")
        check_slope("sgm", eps=eps, slope_clip=slope_clip, ablation=ablation)
        if graph == "features" and ablation != "all":
            raise ParameterError(
                f"sgm: graph = features does not go with ablation = {ablation}: the features of such an input are not "
                "kept",
                instead={"graph": "scores"},
            )
        if not context.teachers:
            raise UsageError(
                "the loss 'sgm' compares with a teacher, and there is none",
                hint="Give the context the widths of one teacher branch or more.",
            )
        self.register_buffer("label_vectors", label_vectors_of(context, "sgm"), persistent=False)
        self.scores = scores
        self.graph = graph
        self.eps = eps
        self.slope_clip = slope_clip
        self.slope_gradient = slope_gradient
        self.ablation = ablation
        self.order = order
        self.slope_pooling = slope_pooling
        own = context.student.stages
        fewest = min(len(widths.stages) for widths in context.teachers)
        self.stages = chosen_stages(tuple(range(len(own) - 1)) if stages is None else stages, len(own), fewest)
        self.projections = nn.ModuleDict(
            {
                _projection_name(stage, teacher.stages[stage]): nn.Linear(own[stage], teacher.stages[stage])
                for stage in self.stages
                for teacher in context.teachers
                if own[stage] != teacher.stages[stage]
            }
        )
        widths = {
            teacher.stages[stage] if order == "align_first" else own[stage]
            for stage in self.stages
            for teacher in context.teachers
        }
        self.gains = nn.ParameterDict({str(width): torch.ones(width) for width in sorted(widths)} if affine else {})
        self.biases = nn.ParameterDict({str(width): torch.zeros(width) for width in sorted(widths)} if affine else {})
        self._constant_share: Tensor | None = None

    def forward(self, student: Features, teacher: Features) -> Tensor:
        """The loss against one branch of the teacher."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.slope_gradient):
            slope = self._slope(student)
        with torch.no_grad():
            target_slope = self._slope(teacher)
            self._constant_share = constant_share(slope)
        terms = []
        for stage in self.stages:
            own, target = student.stages[stage], teacher.stages[stage].detach()
            if self.order == "map_first":
                own, target = align_maps(self._own_map(slope, own), self._map(target_slope, target))
                own = self._projected(own, stage, target.shape[1])
            else:
                own, target = align_maps(own, target)
                own = self._own_map(slope, self._projected(own, stage, target.shape[1]))
                target = self._map(target_slope, target)
            terms.append(F.mse_loss(own, target))
        return torch.stack(terms).mean()

    def _map(self, slope: Tensor, feature: Tensor) -> Tensor:
        return semantic_map(slope, feature, pooling=self.slope_pooling)

    def _own_map(self, slope: Tensor, feature: Tensor) -> Tensor:
        """The student's map, with what its LayerNorm learns."""
        mapped, width = self._map(slope, feature), str(feature.shape[1])
        if width not in self.gains:
            return mapped
        shape = (-1, *[1] * (feature.dim() - 2))
        return mapped * self.gains[width].view(shape) + self.biases[width].view(shape)

    def diagnostics(self) -> dict[str, Tensor]:
        """Readings of the last call, scalars on the device.

        `constant_share` is the share of samples whose slope is below 1e-4 in every entry: for them the student's map
        is constant and the loss has no gradient.
        """
        return {} if self._constant_share is None else {"constant_share": self._constant_share}

    def _slope(self, features: Features) -> Tensor:
        scores, ablated = slope_logits("sgm", features)
        if self.scores == "softmax":
            scores, ablated = scores.softmax(1), ablated.softmax(1)
        nodes = unit(at_least_float32(features.embedding), 1) if self.graph == "features" else None
        return semantic_slope(scores, ablated, self.label_vectors, eps=self.eps, clip=self.slope_clip, nodes=nodes)

    def _projected(self, feature: Tensor, stage: int, channels: int) -> Tensor:
        if feature.shape[1] == channels:
            return feature
        projection = self.projections[_projection_name(stage, channels)]
        return projection(feature.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, feature.shape[2:])


def _projection_name(stage: int, channels: int) -> str:
    return f"stage_{stage}_to_{channels}"
