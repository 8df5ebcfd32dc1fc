"""Decorators: what a component says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from kdbench.errors import UsageError

ATTRIBUTE = "__kdbench_part__"
READER = "__kdbench_reader__"
"""Attribute of every reader of a data set, which an entry point may name without a decorator."""


@dataclass(frozen=True)
class Part:
    """What a decorator wrote on a component: its kind, its name and what it declares."""

    kind: str
    name: str
    declares: Mapping[str, Any] = field(default_factory=dict)


def part_of(component: Any) -> Part:
    """What the decorator wrote on a component.

    Raises:
        UsageError: The component carries no decorator of kdbench.
    """
    part: Part | None = getattr(component, ATTRIBUTE, None)
    if part is None:
        raise UsageError(
            f"{getattr(component, '__name__', component)!r} is not decorated as a part of kdbench",
            hint="Put @loss(NAME, …), @encoder(NAME), … from kdbench above it.",
        )
    return part


_watching: list[list[Any]] = []


@contextmanager
def decorated() -> Iterator[list[Any]]:
    """Gives a list that every component which is decorated inside the block is added to."""
    components: list[Any] = []
    _watching.append(components)
    try:
        yield components
    finally:
        _watching.remove(components)


def _decorator(kind: str, name: str, declares: dict[str, Any]) -> Callable[[Any], Any]:
    def mark(component: Any) -> Any:
        setattr(component, ATTRIBUTE, Part(kind, name, declares))
        for watcher in _watching:
            watcher.append(component)
        return component

    return mark


def loss(
    name: str,
    *,
    on: str | None = None,
    teacher: bool = True,
    project: bool = True,
    all_teachers: bool = False,
    needs: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    detaches: tuple[str, ...] = (),
    batch_order: Literal["invariant", "sensitive"] = "invariant",
    labels: Literal["needed", "optional", "unused"] | None = None,
    compiles: bool = True,
    frozen_teacher: bool | tuple[str, Any] = False,
) -> Callable[[Any], Any]:
    """Declares a distillation loss: a function of tensors, or an `nn.Module` class where it has parameters or state.

    Args:
        name: The name in recipes.
        on: Field of `Features` that the loss is called with (`logits`, `stages`, `embedding`, `semantic`):
            `loss(student, teacher)` with that field of each. None: it gets the two `Features`.
        teacher: False for a supervised loss, called as `loss(student, batch=batch)`, which also trains teachers.
        project: Where the widths of `on` differ, put a learnt linear on the student's side. Relation losses, which
            compare samples with samples, need none and say False.
        all_teachers: The loss takes the list of all teacher branches; otherwise it is called for each and averaged.
        needs: Optional fields of `Features` (`semantic`, `ablated_logits`) or of the `Context` (`label_vectors`,
            `student_classifiers`, `teacher_classifiers`, `student_projections`, `teacher_head`, `series`) that must be
            there. A loss that needs `series` reads raw series of the batch: those that its parameter `sources` names,
            or all of the data set. It is called with the trials that have them.
        reads: Where `on` is None: the fields of `Features` that it reads; none given means that it may read any.
        detaches: Those of the fields from which no gradient, or not all of it, comes back on purpose, for example
            where they give a weight that is held fixed. Everywhere else `kdbench check` wants the whole gradient.
        batch_order: `invariant` where the value does not depend on the order of the trials in the batch; `kdbench
            check` holds the loss to it.
        labels: What it does with the labels of the batch, for trainings in which not every trial has one. `needed`: it
            is called with the labelled trials alone (the default of a supervised loss). `unused`: with all trials (the
            default of a loss with a teacher that takes no `batch`). `optional`: with all, and it knows that a label of
            -1 is none. A loss with a teacher that takes the `batch` has to say; otherwise such a training refuses it.
        compiles: Whether it survives `torch.compile(fullgraph=True)`, which a loss with shapes that depend on values,
            or one that waits for the device, does not.
        frozen_teacher: Whether it holds what a teacher said in earlier steps against what it says now, so that it takes
            no teacher that trains with the student; or the parameter and the value of it under which it does so.

    A parameter named `batch` receives the `Batch`. A module class receives the `Context` as its parameter `context`
    where it has one, and is built once for each teacher branch, with a context that holds that branch alone (once for
    all where it takes all of them), so that what it learns or remembers belongs to one branch. One that needs
    `student_classifiers` is also built for each branch of the student. One that defines `at(progress)` is called so
    before each step, with the share of the training's steps that have been taken. Other keyword parameters come from
    the recipe.
    """
    declares = {
        "on": on,
        "teacher": teacher,
        "project": project,
        "all_teachers": all_teachers,
        "needs": tuple(needs),
        "reads": tuple(reads),
        "detaches": tuple(detaches),
        "batch_order": batch_order,
        "labels": labels or (None if teacher else "needed"),
        "compiles": compiles,
        "frozen_teacher": frozen_teacher,
    }
    return _decorator("loss", name, declares)


def representation(name: str, *, modality: str) -> Callable[[Any], Any]:
    """Declares a representation, an `nn.Module` class: raw `sensors` or `video` to what an encoder takes."""
    return _decorator("representation", name, {"modality": modality})


def encoder(name: str, *, eats: str) -> Callable[[Any], Any]:
    """Declares an encoder that takes (`eats`) `series`, `image` or `clip`; see `encoders.base.Encoder`."""
    return _decorator("encoder", name, {"eats": eats})


def pooling(name: str) -> Callable[[Any], Any]:
    """Declares a pooling over time, of a branch's tokens. See `kdbench.poolings.base.Pooling`."""
    return _decorator("pooling", name, {})


def fusion(name: str) -> Callable[[Any], Any]:
    """Declares a fusion of branches. See `kdbench.fusions.base.Fusion`."""
    return _decorator("fusion", name, {})


def semantics(name: str) -> Callable[[Any], Any]:
    """Declares a source of label vectors: a function `(names, *, dataset, **params) -> LabelVectors`."""
    return _decorator("semantics", name, {})


def launcher(name: str) -> Callable[[Any], Any]:
    """Declares a launcher of the runs of a grid and the workers of a search. See `kdbench.launch.launcher.Launcher`."""
    return _decorator("launcher", name, {})


def dataset(name: str) -> Callable[[Any], Any]:
    """Declares the reader of a data set in a file plugin; the card lies beside the file, as `card.yaml`.

    An entry point names its reader itself, so there the decorator may be left out. See
    `kdbench.Reader`.
    """
    return _decorator("dataset", name, {})
