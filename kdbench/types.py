"""The data that parts exchange: a batch of trials, a network's features, and what a loss is built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

SENSORS = "sensors"
VIDEO = "video"


@dataclass(frozen=True)
class Batch:
    """Trials that pass through a network together.

    Attributes:
        sensors: Series of each sensor, `{name: (B, axes, n)}`, in the units of the dataset's card.
        video: Clip `(B, C, T, H, W)`, uint8 or float in [0, 1], or None where the student is a sensor.
        label: Class indices `(B,)`, int64.
        trial: The B trial ids, in the order of the rows; on the host.
        index: Positions of the trials in their part `(B,)`, int64; the key of a teacher's cache.
        metadata: Columns of the trial index (subject, repetition, …), one value per row; on the host.
        labelled: So many rows, the first ones, have a label; that of the others is -1. None: all have.
        paired: So many rows, the first ones, have sensors that the teacher sees. None: all have.
    """

    sensors: Mapping[str, Tensor]
    video: Tensor | None
    label: Tensor
    trial: tuple[str, ...]
    index: Tensor
    metadata: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    labelled: int | None = None
    paired: int | None = None

    def __len__(self) -> int:
        return len(self.trial)

    def replace(self, **changes: Any) -> Batch:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)

    def head(self, count: int | None) -> Batch:
        """The first rows; all of them where `count` is None."""
        if count is None or count == len(self):
            return self
        return Batch(
            sensors={name: series[:count] for name, series in self.sensors.items()},
            video=None if self.video is None else self.video[:count],
            label=self.label[:count],
            trial=self.trial[:count],
            index=self.index[:count],
            metadata={name: values[:count] for name, values in self.metadata.items()},
            labelled=None if self.labelled is None else min(self.labelled, count),
            paired=None if self.paired is None else min(self.paired, count),
        )


@dataclass(frozen=True)
class Features:
    """What one branch of a network says about a batch.

    Attributes:
        logits: Class scores `(B, K)`.
        stages: Four maps `(B, C_i, *grid_i)`, channels first, each before the next stage's merging. The grid has one
            axis for a series, two for an image, three (time first) for a clip. Under a fusion between stages they are
            the fusion's output.
        embedding: Pooled last stage `(B, D)`.
        semantic: The embedding in the space of the label vectors `(B, S)`; None where no loss needs it.
        ablated_logits: Class scores on the ablated input `(B, K)`; None unless a loss declares that it needs them.
        group_logits: Scores of the groups of classes `(B, G)`; None unless a loss declares that it needs them.
    """

    logits: Tensor
    stages: tuple[Tensor, ...]
    embedding: Tensor
    semantic: Tensor | None = None
    ablated_logits: Tensor | None = None
    group_logits: Tensor | None = None

    def replace(self, **changes: Any) -> Features:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)

    def head(self, count: int | None) -> Features:
        """The first rows of every field; all of them where `count` is None."""
        if count is None or count == len(self.logits):
            return self

        def cut(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[:count]

        return Features(
            logits=self.logits[:count],
            stages=tuple(stage[:count] for stage in self.stages),
            embedding=self.embedding[:count],
            semantic=cut(self.semantic),
            ablated_logits=cut(self.ablated_logits),
            group_logits=cut(self.group_logits),
        )


@dataclass(frozen=True)
class Widths:
    """Channel widths of one network, as its losses need them.

    Attributes:
        logits: K, the number of classes.
        stages: C_1 … C_4.
        embedding: D.
        semantic: S, or None where there is no semantic space.
        group_logits: G, the number of groups of classes, or None where there is no group head.
        axes: Axes of the grids of the stages: 1 for series, 2 for images, 3 for clips; None where they are not known.
    """

    logits: int
    stages: tuple[int, ...]
    embedding: int
    semantic: int | None = None
    group_logits: int | None = None
    axes: int | None = None

    def of(self, field_name: str) -> int | tuple[int, ...] | None:
        """The width of the field of `Features` with this name."""
        width: int | tuple[int, ...] | None = getattr(self, field_name)
        return width


@dataclass(frozen=True)
class Context:
    """What a loss may need at construction.

    Attributes:
        classes: K.
        student: Widths of the network that is trained.
        teachers: Widths of each teacher branch; empty where there is no teacher.
        label_vectors: Vectors of the class names `(K, S)`, float32, in the scale that enters the losses; or None.
        train_size: Number of trials in the training part (for losses with a memory).
        groups: The group of each class `(K,)`, int64, 0 … G - 1; or None where the data set names no groups.
        student_classifiers: `nn.Linear(D, K)` from the embedding to the class scores, of each branch of the network
            that is trained. A loss reads it and leaves it to its network: it keeps it in a tuple, which registers
            nothing, so that it is trained once.
        teacher_classifiers: The same of each teacher branch, frozen; empty where there is no teacher.
    """

    classes: int
    student: Widths
    teachers: tuple[Widths, ...] = ()
    label_vectors: Tensor | None = None
    train_size: int = 0
    groups: Tensor | None = None
    student_classifiers: tuple[nn.Module, ...] = ()
    teacher_classifiers: tuple[nn.Module, ...] = ()
