"""Lines of the golden table for the losses on class scores and on the relations of a batch."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, factorial

import torch
from golden_kit import Call, Differs, Inputs, Match, Params, batch_of, first, same_pair
from torch import Tensor

from kdbench.losses.cc import correlation_congruence
from kdbench.losses.dist import correlated
from kdbench.losses.dkd import decoupled
from kdbench.losses.logits import logit_regression
from kdbench.losses.pkt import probabilistic

# Class scores.


def _logits(_params: Params) -> Match:
    return Match(lambda inputs: logit_regression(inputs["s"], inputs["t"]))


def _dkd(params: Params) -> Match:
    weights = {"alpha": params["alpha"], "beta": params["beta"], "temperature": params["T"]}
    return Match(lambda inputs: decoupled(inputs["s"], inputs["t"], batch=batch_of(inputs), **weights))


def _dist_call(params: Params) -> Call:
    options = {"beta": params["beta"], "gamma": params["gamma"], "eps": params["eps"]}
    return lambda inputs: correlated(*_rows(inputs), temperature=params.get("tau", 1), **options)


def _dist_torchdistill(params: Params) -> Match:
    return Match(_dist_call(params))


def _dist_hunto(params: Params) -> Differs:
    eps = params["eps"]

    def terms(inputs: Inputs) -> list[tuple[float, Tensor, Tensor]]:
        """Weight, products and norms of the centred rows, then of the columns."""
        ours, theirs = (scores.softmax(1) for scores in _rows(inputs))
        found = []
        for weight, pair in ((params["beta"], (ours, theirs)), (params["gamma"], (ours.T, theirs.T))):
            x, y = (values - values.mean(1, keepdim=True) for values in pair)
            found.append((weight, (x * y).sum(1), x.norm(dim=1) * y.norm(dim=1)))
        return found

    def added_eps(inputs: Inputs) -> Tensor:
        return torch.stack([w * (1 - (dot / (norms + eps)).mean()) for w, dot, norms in terms(inputs)]).sum()

    def shrinks_nothing(inputs: Inputs) -> bool:
        shrunk = [
            w * (dot.abs() / norms.clamp(min=eps**2) * eps / (norms + eps)).mean() for w, dot, norms in terms(inputs)
        ]
        return bool(torch.stack(shrunk).sum() < 1e-9)

    return Differs(
        "eps is added to the product of the norms, which shrinks every correlation",
        _dist_call(params),
        reference=added_eps,
        same_when=shrinks_nothing,
    )


def _rows(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Class scores with one row per sample; those of every pixel of a map `(B, K, H, W)` count as samples."""
    student, teacher = (
        scores.transpose(1, 3).flatten(0, 2) if scores.dim() == 4 else scores for scores in (inputs["s"], inputs["t"])
    )
    return student, teacher


# Relations of a batch.


def _pkt(params: Params) -> Match:
    return Match(lambda inputs: probabilistic(inputs["s"], inputs["t"], eps=params["eps"]))


def _cc(params: Params) -> Match:
    options = _kernel_of(params)
    return Match(lambda inputs: correlation_congruence(inputs["s"], inputs["t"], **options))


def _kernel_of(params: Params) -> dict[str, float]:
    return {"gamma": first(params, ("gamma",), 0.4), "order": first(params, ("P_order", "max_p"), 2)}


def _cc_torchdistill_gauss(params: Params) -> Differs:
    options = _kernel_of(params)
    gamma, order = options["gamma"], int(options["order"])

    def kernel(features: Tensor) -> Tensor:
        gram = features @ features.T
        terms = [exp(-2 * gamma) * (2 * gamma) ** p / factorial(p) * gram**p for p in range(order + 1)]
        return torch.stack(terms).sum(0)

    return Differs(
        "the features are not normalised, which the series of the Gaussian assumes, and the norm is not squared",
        lambda inputs: correlation_congruence(inputs["s"], inputs["t"], **options),
        reference=lambda inputs: _frobenius(kernel(inputs["s"]) - kernel(inputs["t"]), params),
        same_when=same_pair,
    )


def _cc_torchdistill_bilinear(params: Params) -> Differs:
    return Differs(
        "the features are not normalised and the norm is not squared",
        lambda inputs: correlation_congruence(inputs["s"], inputs["t"], kernel="bilinear"),
        reference=lambda inputs: _frobenius(inputs["s"] @ inputs["s"].T - inputs["t"] @ inputs["t"].T, params),
        same_when=same_pair,
    )


def _frobenius(difference: Tensor, params: Params) -> Tensor:
    norm = torch.dist(difference, torch.zeros_like(difference))
    return norm / len(difference) ** 2 if params["reduction"] == "batchmean" else norm


def _cc_repdistiller(_params: Params) -> Differs:
    def neighbours(inputs: Inputs) -> Tensor:
        apart = (inputs["s"] - inputs["t"]).abs()
        return (apart[:-1] * apart[1:]).sum(1).mean()

    return Differs(
        "products of the differences of consecutive samples: no correlation of samples is compared",
        lambda inputs: correlation_congruence(inputs["s"], inputs["t"]),
        reference=neighbours,
        same_when=same_pair,
    )


TABLE: tuple[tuple[str, str, Callable[[Params], Match | Differs]], ...] = (
    ("logits", r"kdzoo", _logits),
    ("dkd", r"mdistiller_a.+", _dkd),
    ("dist", r"torchdistill_b.+", _dist_torchdistill),
    ("dist", r"hunto_b.+", _dist_hunto),
    ("pkt", r"passalis|repdistiller|mdistiller|torchdistill|kdzoo", _pkt),
    ("cc", r"kdzoo_g.+", _cc),
    ("cc", r"torchdistill_gauss_g.+", _cc_torchdistill_gauss),
    ("cc", r"torchdistill_bilinear", _cc_torchdistill_bilinear),
    ("cc", r"repdistiller", _cc_repdistiller),
)
