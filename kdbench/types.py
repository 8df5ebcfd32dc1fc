"""The data that parts exchange: a batch of trials, a network's features, and what a loss is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kdbench.errors import unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

SENSORS = "sensors"
NATIVE = "native"
VIDEO = "video"
"""The video of the run's view, as a source; another view is the source `video:NAME`."""


def view_of(source: str) -> str | None:
    """The view that a source `video:NAME` names; None for other sources."""
    kind, colon, view = source.partition(":")
    return view if kind == VIDEO and colon else None


def is_video(source: str) -> bool:
    """Whether a source is video: `video`, or `video:NAME`."""
    return source == VIDEO or view_of(source) is not None


def native(source: str) -> str:
    """What a batch calls the series of a sensor or a skeleton at its native length: `native:NAME`."""
    return f"{NATIVE}:{source}"


def is_native(source: str) -> bool:
    """Whether a name in a batch is that of a series at its native length."""
    return source.startswith(f"{NATIVE}:")


def recorded(source: str) -> str:
    """The sensor or skeleton behind a name in a batch, whatever the length of its series."""
    return source.removeprefix(f"{NATIVE}:")


@dataclass(frozen=True)
class JointGraph:
    """How the joints of a skeleton hang together, for parts that go along its bones.

    Attributes:
        joints: Names of the J joints, in the order of the series' axes, three a joint.
        bones: Pairs of positions in `joints`, from the nearer to the trunk to the farther.
    """

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Batch:
    """Trials that pass through a network together.

    Attributes:
        sensors: Series of each sensor, and of each skeleton that a network sees or a loss reads, `{name: (B, axes,
            n)}`, in the units of the dataset's card. Where a representation takes them at their native lengths, also
            `{"native:NAME": (B, axes, longest)}`, with NaN behind the end of each shorter one.
        video: Clip `(B, C, T, H, W)`, uint8 or float in [0, 1], or None where the student is a sensor.
        label: Class indices `(B,)`, int64.
        trial: The B trial ids, in the order of the rows; on the host.
        index: Positions of the trials in their part `(B,)`, int64; the key of a teacher's cache.
        metadata: Columns of the trial index (subject, repetition, …), one value per row; on the host.
        labelled: So many rows, the first ones, have a label; that of the others is -1. None: all have.
        paired: So many rows, the first ones, have sensors that the teacher sees. None: all have.
        views: Clips of further views by the names of their sources, `{"video:NAME": (B, C, T, H, W)}`.
    """

    sensors: Mapping[str, Tensor]
    video: Tensor | None
    label: Tensor
    trial: tuple[str, ...]
    index: Tensor
    metadata: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    labelled: int | None = None
    paired: int | None = None
    views: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trial)

    def replace(self, **changes: Any) -> Batch:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)

    def raw(self, source: str) -> Tensor:
        """What a source recorded: a series `(B, axes, n)`, or a clip `(B, C, T, H, W)`.

        Args:
            source: A sensor, a skeleton, `native:NAME` of one, `video`, or `video:NAME`.

        Raises:
            UsageError: The batch lacks it.
        """
        sources = {**self.sensors, **self.views, **({} if self.video is None else {VIDEO: self.video})}
        if source not in sources:
            raise unknown(
                "source of the batch",
                source,
                sources,
                hint="Give the batch that source, or let the network see one of these.",
            )
        return sources[source]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Returns a copy in which every source went through `change`."""
        return replace(
            self,
            sensors={name: change(series) for name, series in self.sensors.items()},
            video=None if self.video is None else change(self.video),
            views={name: change(clip) for name, clip in self.views.items()},
        )

    def rows(self, index: Tensor, places: Sequence[int]) -> Batch:
        """Some of the rows, in another order or not.

        Args:
            index: Their places, on the device.
            places: The same on the host.
        """
        return replace(
            self.mapped(lambda source: source.index_select(0, index)),
            label=self.label.index_select(0, index),
            trial=tuple(self.trial[place] for place in places),
            index=self.index.index_select(0, index),
            metadata={name: [values[place] for place in places] for name, values in self.metadata.items()},
        )

    def head(self, count: int | None) -> Batch:
        """The first rows; all of them where `count` is None."""
        return self if count is None or count == len(self) else self.between(0, count)

    def between(self, start: int, end: int) -> Batch:
        """The rows from one place to before another."""

        def inside(count: int | None) -> int | None:
            return None if count is None else max(0, min(count, end) - start)

        return replace(
            self.mapped(lambda source: source[start:end]),
            label=self.label[start:end],
            trial=self.trial[start:end],
            index=self.index[start:end],
            metadata={name: values[start:end] for name, values in self.metadata.items()},
            labelled=inside(self.labelled),
            paired=inside(self.paired),
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
        token_errors: Errors of the tokens that the fusion took away and rebuilt `(B, M)`, 0 for those that it kept;
            None under fusions that rebuild none.
    """

    logits: Tensor
    stages: tuple[Tensor, ...]
    embedding: Tensor
    semantic: Tensor | None = None
    ablated_logits: Tensor | None = None
    group_logits: Tensor | None = None
    token_errors: Tensor | None = None

    def replace(self, **changes: Any) -> Features:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Features:
        """Returns a copy in which every tensor went through `change`."""

        def optional(value: Tensor | None) -> Tensor | None:
            return None if value is None else change(value)

        return Features(
            logits=change(self.logits),
            stages=tuple(change(stage) for stage in self.stages),
            embedding=change(self.embedding),
            semantic=optional(self.semantic),
            ablated_logits=optional(self.ablated_logits),
            group_logits=optional(self.group_logits),
            token_errors=optional(self.token_errors),
        )

    def kept(self, fields: frozenset[str] | None) -> Features:
        """The same without what nobody reads; the logits and the embedding stay, since they are small.

        Args:
            fields: The fields that are read; None for all.
        """
        if fields is None:
            return self
        return self.replace(
            stages=self.stages if "stages" in fields else (),
            semantic=self.semantic if "semantic" in fields else None,
            group_logits=self.group_logits if "group_logits" in fields else None,
            token_errors=self.token_errors if "token_errors" in fields else None,
        )

    def head(self, count: int | None) -> Features:
        """The first rows of every field; all of them where `count` is None."""
        if count is None or count == len(self.logits):
            return self
        return self.mapped(lambda value: value[:count])


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
        token_errors: M, the number of tokens that the fusion rebuilds, or None where it rebuilds none.
    """

    logits: int
    stages: tuple[int, ...]
    embedding: int
    semantic: int | None = None
    group_logits: int | None = None
    axes: int | None = None
    token_errors: int | None = None

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
        teacher_names: The teacher of each of these branches, by its name in the recipe; empty where it has one teacher.
        label_vectors: Vectors of the class names `(K, S)`, float32, in the scale that enters the losses; or None.
        train_size: Number of trials in the training part (for losses with a memory).
        groups: The group of each class `(K,)`, int64, 0 … G - 1; or None where the data set names no groups.
        student_classifiers: `nn.Linear(D, K)` from the embedding to the class scores, of each branch of the network
            that is trained. A loss reads it and leaves it to its network: it keeps it in a tuple, which registers
            nothing, so that it is trained once.
        teacher_classifiers: The same of each teacher branch, frozen; empty where there is no teacher.
        student_projections: `nn.Linear(D_m, D)` of each branch of the network that is trained, into a space that they
            share, where its fusion has one. To be kept as the classifiers are.
        teacher_head: Whether the network that is trained predicts by its teacher's classifier.
        series: Mean and standard deviation of each axis over the training part, two of `(axes,)`, of each sensor and
            skeleton whose raw series a loss reads; empty unless a loss declares that it needs them.
    """

    classes: int
    student: Widths
    teachers: tuple[Widths, ...] = ()
    teacher_names: tuple[str, ...] = ()
    label_vectors: Tensor | None = None
    train_size: int = 0
    groups: Tensor | None = None
    student_classifiers: tuple[nn.Module, ...] = ()
    teacher_classifiers: tuple[nn.Module, ...] = ()
    student_projections: tuple[nn.Module, ...] = ()
    teacher_head: bool = False
    series: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
