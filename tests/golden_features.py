"""Lines of the golden table for the losses on feature maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from golden_kit import Call, Differs, Inputs, Match, Params, layers, same_pair, summed
from torch import Tensor

from kdbench.losses.fsp import solution_flow
from kdbench.losses.hint import hint
from kdbench.losses.nst import neuron_selectivity

# Hints.


def _hint(reduction: str) -> Callable[[Params], Match]:
    return lambda _params: Match(lambda inputs: _one_hint(inputs["s"], inputs["t"], reduction))


def _hint_after_convolution(params: Params) -> Match:
    """The regressor is a given 1x1 convolution without bias."""
    return Match(lambda inputs: _one_hint(F.conv2d(inputs["s"], inputs["weight"]), inputs["t"], "mean"))


def _one_hint(student: Tensor, teacher: Tensor, reduction: str) -> Tensor:
    # A vector is a map of one position.
    maps = ([x if x.dim() > 2 else x[..., None]] for x in (student, teacher))
    return hint(*maps, stages=[0], reduction=reduction)


# Neuron selectivity.


def _nst(params: Params) -> Match:
    return summed(neuron_selectivity)


# The flow of the solution procedure, over all consecutive pairs of layers of a vector.


def _fsp_averaged(params: Params) -> Match:
    ours = partial(solution_flow, pool="average", reduction="mean")

    def each(inputs: Inputs) -> Tensor:
        student, teacher = layers(inputs)
        pairs = pairwise(range(len(student)))
        return torch.stack([ours(student, teacher, stages=list(pair)) for pair in pairs])

    return Match(_on_layers(ours), {"per_layer": each})


def _fsp_torchdistill(params: Params) -> Differs:
    def column_norms(inputs: Inputs) -> Tensor:
        total = inputs["s0"].new_zeros(())
        for flows in zip(*(list(map(_flow, *_pairs(maps))) for maps in layers(inputs)), strict=True):
            ours, theirs = flows
            total = total + torch.linalg.vector_norm(ours - theirs, dim=1).sum()
        return total / len(inputs["s0"])

    return Differs(
        "the L2 norms of the columns of the difference are summed, not their squares",
        _on_layers(solution_flow),
        reference=column_norms,
        same_when=same_pair,
    )


def _on_layers(loss: Callable[..., Tensor]) -> Call:
    return lambda inputs: loss(*layers(inputs))


def _pairs(maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    return maps[:-1], maps[1:]


def _flow(first: Tensor, second: Tensor) -> Tensor:
    height, width = (min(sizes) for sizes in zip(first.shape[2:], second.shape[2:], strict=True))
    first, second = (F.adaptive_max_pool2d(x, (height, width)) for x in (first, second))
    return torch.einsum("bchw,bdhw->bcd", first, second) / (height * width)


TABLE: tuple[tuple[str, str, Callable[[Params], Match | Differs]], ...] = (
    ("hint", r"repdistiller|kdzoo", _hint("mean")),
    ("hint", r"torch_mse_sum", _hint("sum")),
    ("hint", r"lenscloth", _hint_after_convolution),
    ("nst", r"repdistiller|mdistiller|kdzoo", _nst),
    ("fsp", r"repdistiller|kdzoo", _fsp_averaged),
    ("fsp", r"torchdistill", _fsp_torchdistill),
)
