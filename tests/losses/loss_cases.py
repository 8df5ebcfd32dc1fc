"""Features, contexts and calls that the tests of the losses share."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from kdbench.registry import part_of, registry
from kdbench.types import Batch, Context, Features, Widths

CLASSES, SPACE = 6, 12
CLIP = ((4, 8, 8), (4, 4, 4), (2, 2, 2), (2, 1, 1))
IMAGE = ((6, 6), (3, 3), (2, 2), (1, 1))
SERIES = ((16,), (8,), (4,), (2,))
STUDENT_CHANNELS = (4, 6, 8, 10)
TEACHER_CHANNELS = (4, 5, 8, 7)


def features(
    samples: int = 5,
    *,
    grids: tuple[tuple[int, ...], ...] = CLIP,
    channels: tuple[int, ...] = STUDENT_CHANNELS,
    seed: int = 0,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Features:
    """Random features; every tensor is a leaf that asks for its gradient."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()

    return Features(
        logits=draw(samples, CLASSES),
        stages=tuple(draw(samples, width, *grid) for width, grid in zip(channels, grids, strict=True)),
        embedding=draw(samples, channels[-1]),
        semantic=draw(samples, SPACE),
        ablated_logits=draw(1, CLASSES).detach().expand(samples, CLASSES).clone().requires_grad_(),
    )


def teacher_features(samples: int = 5, **options: Any) -> Features:
    """Random features of a teacher whose maps are images."""
    return features(samples, **{"grids": IMAGE, "channels": TEACHER_CHANNELS, "seed": 1, **options})


def tensors(given: Features) -> list[Tensor]:
    """Every tensor in the features."""
    return [
        *given.stages,
        *(t for t in (given.logits, given.embedding, given.semantic, given.ablated_logits) if t is not None),
    ]


def changed(given: Features, change: Any) -> Features:
    """The features with every tensor put through `change`."""
    return Features(
        logits=change(given.logits),
        stages=tuple(change(stage) for stage in given.stages),
        embedding=change(given.embedding),
        semantic=change(given.semantic),
        ablated_logits=change(given.ablated_logits),
    )


def batch_of(samples: int = 5) -> Batch:
    """A batch that holds labels alone."""
    trials = tuple(f"a1_s1_t{row}" for row in range(samples))
    return Batch(
        sensors={}, video=None, label=torch.arange(samples) % CLASSES, trial=trials, index=torch.arange(samples)
    )


def context(
    student: tuple[int, ...] = STUDENT_CHANNELS, teachers: tuple[tuple[int, ...], ...] = (TEACHER_CHANNELS,)
) -> Context:
    """What a loss on these features is built from."""
    generator = torch.Generator().manual_seed(7)
    return Context(
        classes=CLASSES,
        student=Widths(CLASSES, student, student[-1], SPACE),
        teachers=tuple(Widths(CLASSES, widths, widths[-1], SPACE) for widths in teachers),
        label_vectors=0.5 * torch.randn(CLASSES, SPACE, generator=generator),
    )


def built(name: str, *, device: str = "cpu", **params: Any) -> Any:
    """The registered loss as a function of (student's features, teacher's features, batch), by its declaration."""
    component = registry("loss").get(name)
    declares = part_of(component).declares
    if inspect.isclass(component):
        torch.manual_seed(0)
        component, params = component(context(), **params).to(device), {}

    def call(student: Features, teacher: Features, batch: Batch) -> Tensor:
        on = declares["on"]
        ours, theirs = (given if on is None else getattr(given, on) for given in (student, teacher))
        return component(ours, theirs, **params) if declares["teacher"] else component(ours, batch=batch, **params)

    return call
