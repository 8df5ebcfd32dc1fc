"""Which of our calls gives the value of each reference, and where a reference is another function and why.

`lookup` turns a vector of the index into a `Match` or a `Differs`. Everything is derived from the vector's family,
reference and parameters, so that other cases, sizes and parameters need no new line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from golden_features import TABLE as FEATURES
from golden_images import TABLE as IMAGES
from golden_kit import Call, Differs, Inputs, Match, Params, batch_of, first, layers, same_pair, summed
from golden_logits import TABLE as LOGITS
from torch import Tensor

from kdbench.losses.at import attention_transfer
from kdbench.losses.ce import cross_entropy
from kdbench.losses.graph import normalized_affinity
from kdbench.losses.maps import align_maps
from kdbench.losses.rkd import relational
from kdbench.losses.sp import similarity_preserving
from kdbench.losses.st import soft_targets
from kdbench.representations.gaf import gramian_angular_field


def lookup(vector: Mapping[str, Any]) -> Match | Differs:
    """The line of the table for a vector.

    Raises:
        LookupError: No line fits; a new reference needs one.
    """
    for family, pattern, entry in TABLE:
        if family == vector["family"] and re.fullmatch(pattern, vector["ref"]):
            return entry({**_parameters_in(vector["ref"]), **vector["params"]})
    raise LookupError(f"no line of the golden table fits {vector['name']} ({vector['convention']})")


def families() -> set[str]:
    """Families that kdbench has."""
    return {family for family, _, _ in TABLE}


def _parameters_in(ref: str) -> dict[str, Any]:
    """Numbers in a reference's name: `attntransfer_a0p9_T2` has alpha 0.9 and T 2, `both_25_50.x` two weights."""
    names = {"T": "T", "a": "alpha", "p": "p"}
    found = re.findall(r"_([Tap])(\d+(?:p\d+)?)(?=_|$)", ref)
    numbers = {names[letter]: float(number.replace("p", ".")) for letter, number in found}
    weights = re.match(r"both_([\dp]+)_([\dp]+)\.", ref)
    if weights:
        numbers |= dict(
            zip(("w_d", "w_a"), (float(number.replace("p", ".")) for number in weights.groups()), strict=True)
        )
    return numbers


# Soft targets.


def _st(params: Params, **options: Any) -> Call:
    return lambda inputs: soft_targets(inputs["s"], inputs["t"], temperature=params["T"], **options)


def _weighted_with_labels(soft: Call, soft_weight: float, hard_weight: float, reduction: str = "mean") -> Call:
    def call(inputs: Inputs) -> Tensor:
        hard = cross_entropy(inputs["s"], batch=batch_of(inputs))
        samples = len(inputs["s"]) if reduction == "sum" else 1
        return soft_weight * soft(inputs) + hard_weight * samples * hard

    return call


def _kd_scaled(params: Params) -> Match:
    return Match(_st(params))


def _kd_dml(params: Params) -> Match:
    return Match(_st({"T": 1, **params}))


def _kd_with_labels(params: Params) -> Match:
    return Match(_weighted_with_labels(_st(params), params["alpha"], 1 - params["alpha"]))


def _kd_torchdistill(params: Params) -> Match:
    """`KDLoss`, which leaves out T^2 and beta where alpha is None or 0."""
    return Match(_torchdistill(params, standardize=False))


def _kd_standardized(params: Params) -> Match:
    return Match(_torchdistill(params, standardize=True, eps=params["eps"]))


def _torchdistill(params: Params, **options: Any) -> Call:
    reduction, alpha = params.get("reduction", "batchmean"), params.get("alpha")
    if not alpha:
        return _st(params, scale="none", reduction=reduction, **options)
    beta = 1 - alpha if params.get("beta") is None else params["beta"]
    return _weighted_with_labels(_st(params, reduction=reduction, **options), beta, alpha, reduction)


def _kd_soft_cross_entropy(params: Params) -> Differs:
    def entropy(inputs: Inputs) -> Tensor:
        soft = F.softmax(inputs["t"] / params["T"], dim=1)
        return -torch.xlogy(soft, soft).sum(1).mean()

    ours = _st(params, scale="none")
    return Differs(
        "cross-entropy with the soft targets: the teacher's entropy, a constant, is not taken off",
        ours,
        reference=lambda inputs: ours(inputs) + entropy(inputs),
        same_when=lambda inputs: bool(entropy(inputs) <= 1e-12 * ours(inputs)),
    )


# Attention transfer and similarity preservation, over all layers of a vector.


def _at_code(params: Params) -> Match:
    return summed(attention_transfer, p=params.get("p", 2))


def _at_torchdistill(params: Params) -> Match:
    return summed(attention_transfer, form=params["mode"])


def _at_repdistiller(params: Params) -> Match | Differs:
    p = params["p"]
    ours = summed(attention_transfer, p=p, align="features")
    if p % 2 == 0:
        return ours

    def signed(inputs: Inputs) -> Tensor:
        pairs = [align_maps(*maps) for maps in zip(*layers(inputs), strict=True)]
        return _squared_differences([[F.normalize(x.pow(p).mean(1).flatten(1)) for x in pair] for pair in pairs])

    return Differs(
        "an odd power without the absolute value: positions of opposite sign cancel",
        ours.call,
        reference=signed,
        same_when=lambda inputs: same_pair(inputs) or all(bool((x >= 0).all()) for x in inputs.values()),
    )


def _at_kdzoo(params: Params) -> Differs:
    p, eps = params["p"], params.get("eps", 1e-6)

    def energies(inputs: Inputs) -> list[list[Tensor]]:
        return [[x.abs().pow(p).sum(1).flatten(1) for x in pair] for pair in zip(*layers(inputs), strict=True)]

    def added_eps(inputs: Inputs) -> Tensor:
        return _squared_differences(
            [[q / (q.norm(dim=1, keepdim=True) + eps) for q in pair] for pair in energies(inputs)]
        )

    def negligible(inputs: Inputs) -> bool:
        return min(q.norm(dim=1).min().item() for pair in energies(inputs) for q in pair) > 1e11 * eps

    return Differs(
        "the norm of the attention gets 1e-6 added, and the channels are summed, so that the scale has an effect",
        summed(attention_transfer, p=p).call,
        reference=added_eps,
        same_when=lambda inputs: same_pair(inputs) or negligible(inputs),
    )


def _squared_differences(pairs: list[list[Tensor]]) -> Tensor:
    return torch.stack([(ours - theirs).square().mean() for ours, theirs in pairs]).sum()


def _sp(params: Params) -> Match:
    return summed(similarity_preserving)


def _sp_torchdistill(params: Params) -> Differs:
    def row_sums(inputs: Inputs) -> Tensor:
        total = inputs["s0"].new_zeros(())
        for pair in zip(*layers(inputs), strict=True):
            ours, theirs = (F.normalize(x.flatten(1) @ x.flatten(1).T, p=1.0) for x in pair)
            total = total + (ours - theirs).square().sum()
        return total / len(inputs["s0"]) ** 2 if params["reduction"] == "batchmean" else total

    return Differs(
        "the rows of G are divided by their L1 norm: `normalize(G, 1)` passes 1 as the order of the norm",
        summed(similarity_preserving).call,
        reference=row_sums,
        same_when=lambda inputs: same_pair(inputs) or len(inputs["s0"]) == 1,
    )


# Relations.


def _rkd(params: Params) -> Match:
    return Match(lambda inputs: relational(inputs["s"], inputs["t"], **params))


def _rkd_terms(distance: float, angle: float, **options: Any) -> Callable[[Params], Match]:
    """RKD, its weights under whatever name the reference has for them."""

    def entry(params: Params) -> Match:
        weights = {
            "distance_weight": first(params, ("w_d", "distance_weight", "dist_factor"), distance),
            "angle_weight": first(params, ("w_a", "angle_weight", "angle_factor"), angle),
        }
        passed = {key: params[key] for key in ("reduction", "squared") if key in params}
        return _rkd({**options, **weights, **passed})

    return entry


# The graph.


def _graph(summary: str) -> Callable[[Params], Match]:
    def entry(params: Params) -> Match:
        def affinity(argument: str) -> Call:
            return lambda inputs: normalized_affinity(
                inputs[argument] / params["sigma2"] ** 0.5, self_loops=params["self_loops"]
            )

        student, teacher = affinity("s"), affinity("t")

        def call(inputs: Inputs) -> Tensor:
            if summary == "lin":
                return (inputs["C"] * student(inputs)).sum()
            squares = (student(inputs) - teacher(inputs)).square()
            return squares.mean() if summary == "mse" else squares.sum()

        return Match(call, {"S_s": student, "S_t": teacher})

    return entry


# Gramian angular fields.


def _gaf(params: Params) -> Match:
    span = params["sample_range"]
    return Match(
        lambda inputs: gramian_angular_field(
            inputs["x"],
            method=params["method"],
            image_size=params["image_size"],
            sample_range=None if span is None else tuple(span),
            overlapping=params["overlapping"],
        )
    )


TABLE: tuple[tuple[str, str, Callable[[Params], Match | Differs]], ...] = (
    ("kd", r"(repdistiller|kdzoo|mdistiller)_T.+", _kd_scaled),
    ("kd", r"attntransfer_a.+", _kd_with_labels),
    ("kd", r"torchdistill_(soft|full|softmean)_T.+", _kd_torchdistill),
    ("kd", r"torchdistill_logitstd_T.+", _kd_standardized),
    ("kd", r"passalis_softce_T.+", _kd_soft_cross_entropy),
    ("kd", r"kdzoo_dml", _kd_dml),
    ("at", r"szagoruyko|lenscloth", _at_code),
    ("at", r"torchdistill_(code|paper)", _at_torchdistill),
    ("at", r"(repdistiller|mdistiller)_p.+", _at_repdistiller),
    ("at", r"kdzoo_p.+", _at_kdzoo),
    ("sp", r"repdistiller|mdistiller|kdzoo", _sp),
    ("sp", r"torchdistill_(batchmean|sum)", _sp_torchdistill),
    ("rkd", r"dist\..+", _rkd_terms(1, 0)),
    ("rkd", r"dist_sq\..+", _rkd_terms(1, 0, squared=True)),
    ("rkd", r"angle\..+", _rkd_terms(0, 1)),
    ("rkd", r"both_.+", _rkd_terms(25, 50)),
    ("graph", r"mse(_nodiag)?", _graph("mse")),
    ("graph", r"frob2(_nodiag)?", _graph("frob2")),
    ("graph", r"lin(_nodiag)?", _graph("lin")),
    ("gaf", r"(summation|difference)_.+", _gaf),
    *LOGITS,
    *FEATURES,
    *IMAGES,
)
