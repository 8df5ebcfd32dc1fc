"""Features, contexts and calls that the tests of the losses share."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.engine.term import Term
from kdbench.recipes.terms import LossTerm
from kdbench.types import Batch, Context, Features, Widths

CLASSES, SPACE, GROUPS, TOKENS, TRAIN_SIZE = 6, 12, 3, 2, 20
CLIP = ((4, 8, 8), (4, 4, 4), (2, 2, 2), (2, 1, 1))
IMAGE = ((6, 6), (3, 3), (2, 2), (1, 1))
SERIES = ((16,), (8,), (4,), (2,))
STUDENT_CHANNELS = (4, 6, 8, 10)
TEACHER_CHANNELS = (4, 5, 8, 7)
SOURCES, LENGTH = {"gyroscope": 3, "skeleton": 6}, 20
"""Axes of the series, and their samples."""
VECTORS = ("logits", "embedding", "semantic", "ablated_logits", "group_logits", "token_errors")


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
        group_logits=draw(samples, GROUPS),
        token_errors=draw(samples, TOKENS).detach().square().requires_grad_(),
    )


def teacher_features(samples: int = 5, **options: Any) -> Features:
    """Random features of a teacher whose maps are images."""
    return features(samples, **{"grids": IMAGE, "channels": TEACHER_CHANNELS, "seed": 1, **options})


def waves(*shape: int, phase: float = 0.0) -> Tensor:
    """Fixed float64 numbers that other code can be given too: `2 sin(1.7 n + phase)`, n the place in the tensor."""
    return 2 * torch.sin(1.7 * torch.arange(math.prod(shape), dtype=torch.float64) + phase).reshape(shape)


def tensors(given: Features) -> list[Tensor]:
    """Every tensor in the features."""
    return [
        *given.stages,
        *(getattr(given, field) for field in VECTORS),
    ]


def changed(given: Features, change: Any) -> Features:
    """The features with every tensor put through `change`."""
    return Features(
        stages=tuple(change(stage) for stage in given.stages),
        **{field: change(getattr(given, field)) for field in VECTORS},
    )


def batch_of(samples: int = 5) -> Batch:
    """A batch that holds labels, places in the training part, and the series of two sources."""
    trials = tuple(f"a1_s1_t{row}" for row in range(samples))
    sensors = {name: 3 * waves(samples, axes, LENGTH, phase=axes).float() + 1 for name, axes in SOURCES.items()}
    label, index = torch.arange(samples) % CLASSES, torch.arange(samples)
    return Batch(sensors=sensors, video=None, label=label, trial=trials, index=index)


def context(
    student: tuple[int, ...] = STUDENT_CHANNELS, teachers: tuple[tuple[int, ...], ...] = (TEACHER_CHANNELS,)
) -> Context:
    """What a loss on these features is built from."""
    generator = torch.Generator().manual_seed(7)
    return Context(
        classes=CLASSES,
        student=Widths(CLASSES, student, student[-1], SPACE, GROUPS, token_errors=TOKENS),
        teachers=tuple(Widths(CLASSES, widths, widths[-1], SPACE, GROUPS, token_errors=TOKENS) for widths in teachers),
        label_vectors=0.5 * torch.randn(CLASSES, SPACE, generator=generator),
        groups=torch.arange(CLASSES) % GROUPS,
        train_size=TRAIN_SIZE,
        student_classifiers=(classifier(student[-1]),),
        teacher_classifiers=tuple(classifier(widths[-1]).requires_grad_(False) for widths in teachers),
        student_projections=(classifier(3, student[-1] // 2), classifier(4, student[-1] // 2)),
        teacher_head=True,
        series={name: (torch.arange(axes) + 1.0, torch.arange(axes) + 0.5) for name, axes in SOURCES.items()},
    )


def classifier(width: int, classes: int = CLASSES) -> nn.Linear:
    """A classifier of embeddings, the same for every network of one width."""
    layer = nn.utils.skip_init(nn.Linear, width, classes)
    generator = torch.Generator().manual_seed(9)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=width**-0.5, generator=generator)
    return layer


class Built(nn.Module):
    """A registered loss as the engine calls it, with whatever it learns: (student's features, teacher's, batch)."""

    def __init__(self, term: Term) -> None:
        super().__init__()
        self.term = term

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        return self.term([student], [teacher], batch)


def built(name: str, *, device: str = "cpu", student: tuple[int, ...] = STUDENT_CHANNELS, **params: Any) -> Built:
    """The loss with this name, for a student of these channels."""
    torch.manual_seed(0)
    return Built(Term(name, LossTerm(**params), context(student), where=f"student.losses.{name}")).to(device)


def learns(name: str, **options: Any) -> bool:
    """Whether the loss has parameters of its own, or learnt linears before it."""
    return any(True for _ in built(name, **options).parameters())
