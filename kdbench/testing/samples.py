"""Random features and batches that losses are checked on, drawn from generators of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdbench.engine.declared import OPTIONAL
from kdbench.types import Batch, Features, Widths

CLASSES, GROUPS, SPACE, SAMPLES, TRAIN_SIZE = 5, 3, 12, 6, 24
CLIP = ((4, 8, 8), (4, 4, 4), (2, 3, 3), (2, 2, 2))
IMAGE = ((6, 6), (4, 4), (3, 3), (2, 2))
SERIES = ((16,), (8,), (4,), (3,))
TOKENS = 3
STUDENT = Widths(CLASSES, (4, 6, 8, 10), 10, SPACE, GROUPS, token_errors=TOKENS)
TEACHER = Widths(CLASSES, (5, 6, 8, 12), 12, SPACE, GROUPS, token_errors=TOKENS)
"""Widths of which some differ from the student's and some do not."""
PIXEL = ((1, 1),) * 4
ONE_CLASS = (replace(STUDENT, logits=1, group_logits=1), replace(TEACHER, logits=1, group_logits=1))
TEACHERS = 2
LABELS = (0, 1, 2, 0, 3, 1)
"""Some classes have two trials and others one."""
LENGTH = 20
SCALES = {
    "accelerometer": (torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 0.5, 3.0])),
    "skeleton": (torch.arange(6.0), torch.full((6,), 0.1)),
}
"""Mean and standard deviation of each axis of the series."""

Grids = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Sample:
    """What one call of a loss gets.

    Attributes:
        student: The student's features; every tensor is a leaf that asks for its gradient.
        teachers: The features of each teacher branch, without gradient, as those of a frozen teacher.
        batch: The trials.
    """

    student: Features
    teachers: tuple[Features, ...]
    batch: Batch

    def replace(self, **changes: object) -> Sample:
        """Returns a copy with some parts changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Sample:
        """New leaves of another precision or on another device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.detach().to(device=device, dtype=dtype).clone()

        batch = self.batch.mapped(lambda series: series.to(device=device, dtype=dtype))
        batch = batch.replace(label=batch.label.to(device), index=batch.index.to(device))
        return self._through(moved, batch)

    def through(self, change: Callable[[Tensor], Tensor]) -> Sample:
        """New leaves with other values."""
        return self._through(lambda tensor: change(tensor.detach()).clone(), self.batch)

    def reordered(self, order: Tensor) -> Sample:
        """The same trials in another order; also for a part of them."""

        def picked(tensor: Tensor) -> Tensor:
            return tensor.detach()[order].clone()

        batch = self.batch.rows(order, order.tolist())
        return self._through(picked, batch)

    def _through(self, change: Callable[[Tensor], Tensor], batch: Batch) -> Sample:
        student = self.student.mapped(lambda tensor: change(tensor).requires_grad_())
        return Sample(student, tuple(teacher.mapped(change) for teacher in self.teachers), batch)


def draw(
    samples: int = SAMPLES,
    *,
    grids: tuple[Grids, Grids] = (CLIP, IMAGE),
    widths: tuple[Widths, Widths] = (STUDENT, TEACHER),
    seed: int = 0,
) -> Sample:
    """Draws features of a student and of its teachers.

    Args:
        samples: B.
        grids: Grids of the student's four maps and of the teachers'.
        widths: Widths of the student and of each teacher.
        seed: Another seed draws other features.
    """
    generator = torch.Generator().manual_seed(seed)
    student = _features(samples, grids[0], widths[0], generator)
    teachers = tuple(_features(samples, grids[1], widths[1], generator).mapped(Tensor.detach) for _ in range(TEACHERS))
    return Sample(student, teachers, batch_of(samples, first=seed * samples, classes=widths[0].logits))


def with_series(sample: Sample, seed: int = 0) -> Sample:
    """The sample with raw series in its batch, whose axes have unlike scales."""
    generator = torch.Generator().manual_seed(100 + seed)
    rows = len(sample.batch)
    drawn = {name: torch.randn(rows, len(mean), LENGTH, generator=generator) for name, (mean, _) in SCALES.items()}
    sensors = {name: SCALES[name][0][:, None] + SCALES[name][1][:, None] * x for name, x in drawn.items()}
    return sample.replace(batch=sample.batch.replace(sensors=sensors))


def batch_of(samples: int, first: int = 0, classes: int = CLASSES) -> Batch:
    """A batch of labels, ids and positions, without recordings."""
    labels = torch.tensor([LABELS[row % len(LABELS)] % classes for row in range(samples)])
    index = (first + torch.arange(samples)) % TRAIN_SIZE
    return Batch({}, None, labels, tuple(f"trial_{i}" for i in index.tolist()), index)


def tensors(features: Features) -> dict[str, Tensor]:
    """Every tensor of some features by the name that messages use: `logits`, `stages[0]`, ….

    The same order for all features with the same fields.
    """
    named: dict[str, Tensor | None] = {"logits": features.logits, "embedding": features.embedding}
    named |= {f"stages[{number}]": stage for number, stage in enumerate(features.stages)}
    named |= {name: getattr(features, name) for name in (*OPTIONAL, "ablated_logits")}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def with_tensor(features: Features, name: str, value: Tensor) -> Features:
    """The features with the tensor of one name (see `tensors`) replaced."""
    if not name.startswith("stages"):
        return features.replace(**{name: value})
    number = int(name.removeprefix("stages[").removesuffix("]"))
    stages = (*features.stages[:number], value, *features.stages[number + 1 :])
    return features.replace(stages=stages)


def _features(samples: int, grids: Grids, widths: Widths, generator: torch.Generator) -> Features:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    return Features(
        logits=normal(samples, widths.logits),
        stages=tuple(normal(samples, width, *grid) for width, grid in zip(widths.stages, grids, strict=True)),
        embedding=normal(samples, widths.embedding),
        semantic=normal(samples, SPACE),
        # Without their input all samples are alike.
        ablated_logits=normal(1, widths.logits).detach().expand(samples, -1).clone().requires_grad_(),
        group_logits=normal(samples, widths.group_logits or GROUPS),
        # Errors are positive; of a generator of their own, so that what is drawn after them stays what it was.
        token_errors=torch.rand(samples, TOKENS, generator=torch.Generator().manual_seed(samples)).requires_grad_(),
    )
