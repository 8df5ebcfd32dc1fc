"""What the golden tables share: how one of our calls is set against a recorded value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kdbench.types import Batch

Inputs = Mapping[str, Tensor]
Params = Mapping[str, Any]
Call = Callable[[Inputs], Tensor]


@dataclass(frozen=True)
class Match:
    """Our call gives the reference's values.

    Attributes:
        call: The compared value; a scalar loss or an image.
        parts: Further recorded outputs, by their name in the index.
    """

    call: Call
    parts: Mapping[str, Call] = field(default_factory=dict)


@dataclass(frozen=True)
class Differs:
    """The reference is another function.

    Attributes:
        why: What the reference does otherwise.
        call: Ours.
        reference: The reference's function, written as what `why` says of it.
        same_when: Whether the difference has no effect on these inputs.
    """

    why: str
    call: Call
    reference: Call
    same_when: Callable[[Inputs], bool]


def same_pair(inputs: Inputs) -> bool:
    pairs = [(inputs[key], inputs["t" + key[1:]]) for key in inputs if key.startswith("s")]
    return all(ours.shape == theirs.shape and ours.equal(theirs) for ours, theirs in pairs)


def batch_of(inputs: Inputs) -> Batch:
    label = inputs["y"].long()
    trials = tuple(f"trial_{row}" for row in range(len(label)))
    return Batch(sensors={}, video=None, label=label, trial=trials, index=torch.arange(len(label)))


def layers(inputs: Inputs) -> tuple[list[Tensor], list[Tensor]]:
    count = sum(key.startswith("s") for key in inputs)
    return [inputs[f"s{layer}"] for layer in range(count)], [inputs[f"t{layer}"] for layer in range(count)]


def summed(loss: Callable[..., Tensor], **options: Any) -> Match:
    def each(inputs: Inputs) -> Tensor:
        student, teacher = layers(inputs)
        return torch.stack([loss(student, teacher, stages=[layer], **options) for layer in range(len(student))])

    return Match(lambda inputs: loss(*layers(inputs), stages=None, **options), {"per_layer": each})


def first(params: Params, names: tuple[str, ...], default: float) -> float:
    return next((params[name] for name in names if name in params), default)
