"""One loss of an objective: built from its name, checked against the networks, and called on their features."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from kdbench.engine.declared import OPTIONAL, declared, reads_labels
from kdbench.engine.loss_building import build_loss
from kdbench.engine.memory import is_out_of_memory
from kdbench.engine.mixing import Mix, build_mix, mixed, unmixable, virtual_widths
from kdbench.engine.projector import projector_of, stages_of
from kdbench.errors import KdbenchError, RunFailed, UsageError
from kdbench.recipes.mistyped import mistyped
from kdbench.recipes.placed import hint_at, retold
from kdbench.recipes.terms import LossTerm, PartSpec
from kdbench.registry import registry
from kdbench.types import Batch, Context, Features, Widths

_OWNERS = ("student", "teacher")
_PROJECTIONS = "student_projections"
_GIVES = {"semantic": "se", "group_logits": "group_ce", "token_errors": "reconstruction"}
_WIDTH_OF = {
    "semantic": "semantic=S, the width of the label vectors",
    "group_logits": "groups=G, the number of groups",
    "token_errors": "a fusion that rebuilds tokens: fusion: {name: masked}",
}


class Term(nn.Module):
    """One loss with its weight, its parameters and, where widths differ, its projectors.

    Args:
        name: Registered name of the loss.
        spec: Weight and parameters.
        context: Widths, label vectors and sizes that it is built from.
        where: Key of the recipe that it stands under, for messages.
        heads: Widths of each head of the network in training; those of unlike heads get a loss each. By default one
            head, of the context's student.

    Raises:
        UsageError: An unknown loss, parameter or field, or a field that a network lacks.
    """

    def __init__(
        self, name: str, spec: LossTerm, context: Context, *, where: str, heads: Sequence[Widths] = ()
    ) -> None:
        super().__init__()
        declares = declared(name)
        component = registry("loss").get(name)
        self.name = name
        self.where = where
        self.weight = spec.weight
        self._params = spec.params
        self.on: str | None = declares["on"]
        self.with_teacher: bool = declares["teacher"]
        self.all_teachers: bool = declares["all_teachers"]
        self.needs: tuple[str, ...] = tuple(declares["needs"]) + ((self.on,) if self.on in OPTIONAL else ())
        self.reads: tuple[str, ...] = (self.on,) if self.on else tuple(declares["reads"])
        context = self._teachers_of(context, spec)
        self.mix = self._mix(context, spec.mix, declares)
        if self.mix is not None:
            # To the loss, the mixed teachers are one.
            widths = virtual_widths(context.teachers)
            context = dataclasses.replace(context, teachers=(widths,), teacher_names=(), teacher_classifiers=())
        self._of_heads = self._per_head(context, heads)
        for one in self._of_heads:
            self._check_fields(one)
        try:
            self.losses = [build_loss(component, name, spec.params, one, where) for one in self._contexts()]
        except KdbenchError as error:
            raise self._named(error) from error
        self.stateful = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))
        self.ablation = str(getattr(self.losses[0], "ablation", "all"))
        self.shields: tuple[int, ...] = tuple(getattr(self.losses[0], "shields", ()))
        self.takes_batch = "batch" in inspect.signature(_call_of(self.losses[0])).parameters
        self.labels = "needed" if self.mix is not None and self.mix.needs_labels else reads_labels(name)
        self._check_call()
        # In a tuple, so that layers of the networks are no part of this module.
        self._borrowed = tuple(
            layer
            for owner in _OWNERS
            if f"{owner}_classifiers" in self.needs
            for layer in getattr(context, f"{owner}_classifiers")
        ) + (context.student_projections if _PROJECTIONS in self.needs else ())
        self._has_worked = False
        self.projectors = nn.ModuleList()
        if self.with_teacher and self.on and declares["project"]:
            stages = stages_of(component, spec.params)
            try:
                self.projectors = nn.ModuleList(
                    projector_of(one.student, teacher, self.on, stages)
                    for one in self._of_heads
                    for teacher in context.teachers
                )
            except KdbenchError as error:
                raise self._named(error) from error

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # What is read of the networks is not registered, and has to be where the loss is.
        for layer in self._borrowed:
            layer._apply(fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _teachers_of(self, context: Context, spec: LossTerm) -> Context:
        """The context with the teachers that the term names; all of them where it names none."""
        self._chosen: tuple[int, ...] | None = None
        if spec.teachers is None:
            return context
        if not self.with_teacher:
            raise UsageError(
                f"{self.where}.from has no effect: the loss compares with no teacher",
                hint=f"Leave it out: --set {self.where}.from=null",
            )
        self._chosen = tuple(place for place, name in enumerate(context.teacher_names) if name in spec.teachers)
        return dataclasses.replace(
            context,
            teachers=tuple(context.teachers[place] for place in self._chosen),
            teacher_names=tuple(context.teacher_names[place] for place in self._chosen),
            teacher_classifiers=tuple(
                context.teacher_classifiers[place] for place in self._chosen if context.teacher_classifiers
            ),
        )

    def _mix(self, context: Context, spec: PartSpec | None, declares: Mapping[str, Any]) -> Mix | None:
        if spec is None:
            return None
        if why := unmixable(declares):
            raise UsageError(
                f"{self.where}.mix = {spec.name}: the loss {why}", hint=f"Leave it out: --set {self.where}.mix=null"
            )
        names = context.teacher_names or ("teacher",) * len(context.teachers)
        return build_mix(spec, names, context.teachers, self.where)

    def tell(self, errors: Tensor) -> None:
        """Tells a mix the cross-entropy of every teacher branch over the training part `(branches,)`."""
        if self.mix is not None:
            self.mix.tell(errors if self._chosen is None else errors[list(self._chosen)])

    def at(self, progress: float) -> None:
        """Tells the loss, where it defines `at`, which share of the training's steps has been taken."""
        for loss in self.losses:
            if callable(tell := getattr(loss, "at", None)):
                tell(progress)

    def forward(self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch) -> Tensor:
        """The term's value, averaged over branches; a scalar.

        Raises:
            UsageError: The loss cannot be computed on these features, or returns no scalar.
            RunFailed: It raised an error after it had worked before.
        """
        if self._chosen is not None:
            teacher = [teacher[place] for place in self._chosen]
        # A batch begins with what is labelled, or paired, so that the trials that a loss can read are its head.
        if not self.with_teacher:
            rows = batch.labelled if self.labels == "needed" else batch.paired if "series" in self.needs else None
        else:
            rows = batch.paired
            if self.labels == "needed" and batch.labelled is not None:
                rows = batch.labelled
                teacher = [branch.head(rows) for branch in teacher]
        student = [branch.head(rows) for branch in student]
        batch = batch.head(rows)
        error: Tensor | None = None
        try:
            if self.mix is not None:
                scores = self.mix(teacher, batch)
                error = self.mix.error(scores, batch)
                teacher = [mixed(scores.detach(), teacher[0])]
            value = torch.stack([self._scalar(result) for result in self._values(student, teacher, batch)]).mean()
        except KdbenchError as error:
            raise self._named(error) from error
        # A loss may be anyone's code: whatever it raises is told with the shapes that it was given.
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise self._broken(error, student, teacher) from error
        self._has_worked = True
        # The mix learns by its own error, of which the term's value shows nothing.
        return value if error is None else value + (error - error.detach())

    def _values(self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch) -> list[Any]:
        extra = {"batch": batch} if self.takes_batch else {}
        if not self.with_teacher:
            return [self.losses[place](self._read(branch), **extra) for place, branch in self._placed(student)]
        if self.all_teachers:
            targets = [self._read(branch) for branch in teacher]
            return [self.losses[place](self._read(branch), targets, **extra) for place, branch in self._placed(student)]
        return [
            self.losses[number](self._projected(self._read(branch), number), self._read(target), **extra)
            for place, branch in self._placed(student)
            # Losses stand head by head, and within a head teacher by teacher, as `_contexts` makes them.
            for number, target in enumerate(teacher, start=place * len(teacher))
        ]

    def _placed(self, student: Sequence[Features]) -> Iterator[tuple[int, Features]]:
        """The heads with the places of their losses: one for all, or one each."""
        for number, branch in enumerate(student):
            yield (number if len(self._of_heads) > 1 else 0), branch

    def _per_head(self, context: Context, heads: Sequence[Widths]) -> list[Context]:
        """What the loss is built from: once; for each head where they are unlike, or where it reads a classifier."""
        heads = heads or (context.student,) * max(len(context.student_classifiers), 1)
        if len(set(heads)) == 1 and "student_classifiers" not in self.needs:
            return [dataclasses.replace(context, student=heads[0])]
        return [
            dataclasses.replace(
                context, student=widths, student_classifiers=context.student_classifiers[number : number + 1]
            )
            for number, widths in enumerate(heads)
        ]

    def _contexts(self) -> list[Context]:
        """The same for each teacher branch: what a loss learns or remembers of a teacher belongs to one branch."""
        if not self.with_teacher or self.all_teachers:
            return self._of_heads
        return [
            dataclasses.replace(
                one, teachers=(widths,), teacher_classifiers=one.teacher_classifiers[number : number + 1]
            )
            for one in self._of_heads
            for number, widths in enumerate(one.teachers)
        ]

    def _read(self, features: Features) -> Any:
        return features if self.on is None else getattr(features, self.on)

    def _projected(self, value: Any, number: int) -> Any:
        return self.projectors[number](value) if len(self.projectors) else value

    def _scalar(self, value: Any) -> Tensor:
        if not isinstance(value, Tensor) or value.ndim != 0:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f"the loss '{self.name}' returned {shape}, expected a scalar tensor", hint="Average over the batch."
            )
        return value

    def _check_fields(self, context: Context) -> None:
        if self.with_teacher and not context.teachers:
            raise UsageError(
                f"{self.where} compares with a teacher, and this network has none",
                hint=f"Remove it: --set {self.where}=null",
            )
        if "stages" in self.reads:
            for owner, widths in (
                ("network in training", context.student),
                *(("teacher", w) for w in context.teachers),
            ):
                # How many it needs, and whether both networks have as many, is the loss's own matter.
                if not widths.stages and (owner != "teacher" or self.with_teacher):
                    raise UsageError(
                        f"{self.where} compares maps, and the {owner} gives none: its branches are unlike",
                        hint="Name the branch whose maps are compared: "
                        f"--set {self._owner_of(owner)}.fusion.maps_of=BRANCH",
                    )
        for owner in _OWNERS:
            if f"{owner}_classifiers" in self.needs and not getattr(context, f"{owner}_classifiers"):
                raise UsageError(
                    f"{self.where} needs the classifier of the {owner}, and there is none",
                    hint=f"Leave the loss out: --set {self.where}=null",
                )
        if _PROJECTIONS in self.needs and not context.student_projections:
            raise UsageError(
                f"{self.where} needs branches that share a space, and the network in training has none",
                hint="Join them by the fusion shared: fusion: {name: shared}",
            )
        if "teacher_head" in self.needs and not context.teacher_head:
            raise UsageError(
                f"{self.where} trains no classifier: the student has to predict by the teacher's",
                hint="Give it the teacher's head: student: {head: {of: teacher}}",
            )
        for field in OPTIONAL:
            if field in {*self.needs, *self.reads} and context.student.of(field) is None:
                raise UsageError(
                    f"{self.where} reads '{field}', and the network in training has none",
                    hint=f"Build the network with {_WIDTH_OF[field]}.",
                )
            if field in self.reads and self.with_teacher and any(w.of(field) is None for w in context.teachers):
                raise UsageError(
                    f"{self.where} compares '{field}' with the teacher's, and the teacher has none",
                    hint=f"Train one in it, for example --set teacher.losses.{_GIVES[field]}.weight=0.5",
                )

    def _owner_of(self, owner: str) -> str:
        """The key of a network in the recipe, as far as the term knows it."""
        return "teacher" if owner == "teacher" else self.where.partition(".losses")[0]

    def _check_call(self) -> None:
        """Asks whether the loss takes what it will be called with."""
        call = _call_of(self.losses[0])
        given = ("student", "teacher") if self.with_teacher else ("student",)
        extra = {"batch": None} if self.takes_batch else {}
        try:
            inspect.signature(call).bind(*given, **extra)
        except TypeError as error:
            raise UsageError(
                f"{self.where} ({_origin(self.name)}) is called as loss({', '.join([*given, *extra])}), and does not "
                f"take that: {error}",
                hint="A supervised loss is declared with teacher=False; a parameter without a default belongs into the "
                "recipe.",
            ) from error

    def _named(self, error: KdbenchError) -> KdbenchError:
        """What the loss itself cannot know is where it stands."""
        hint = hint_at(error, self.where, self.name, registry("loss").get(self.name))
        is_named = f"'{self.name}'" in error.message or self.where in error.message
        if is_named and hint == error.hint:
            return error
        message = error.message.removeprefix(f"{self.name}: ")
        return retold(error, message if is_named else f"{self.where}: {message}", hint)

    def _broken(self, error: Exception, student: Sequence[Features], teacher: Sequence[Features]) -> KdbenchError:
        what = self.on or "features"
        shown = [f"the student's {what}: {_shapes(self._read(student[0]))}"] if student else []
        shown += [f"the teacher's: {_shapes(self._read(teacher[0]))}"] if self.with_teacher and teacher else []
        raised = f"{type(error).__name__}{_line(error, self.losses[0])}"
        text = f"{self.where} ({_origin(self.name)}) raised {raised}: {error}; {'; '.join(shown)}"
        # What has worked once fits its networks; it failed on values, so that the recipe is not to blame.
        if not self._has_worked and (
            told := mistyped(registry("loss").get(self.name), self._params, self.where, self.name)
        ):
            return told
        if self._has_worked:
            return RunFailed(
                text, hint=f"It failed on values, not on shapes: kdbench check {self.name} tries it on degenerate ones."
            )
        return UsageError(text, hint=f"See what it takes: kdbench describe {self.name}")


def _call_of(loss: Any) -> Callable[..., Any]:
    return loss.forward if isinstance(loss, nn.Module) else loss


def _origin(name: str) -> str:
    """Where a loss comes from, as messages name it."""
    origin = registry("loss").origin(name)
    return f"{origin.target}, {origin.owner}"


def _line(error: Exception, loss: Any) -> str:
    """The last line of the loss's own file that the error passed through."""
    inner = loss.func if isinstance(loss, functools.partial) else loss
    try:
        own = inspect.getsourcefile(type(inner) if isinstance(inner, nn.Module) else inner)
    # Only code in Python has a source file.
    except TypeError:
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f" in line {lines[-1]}" if lines else ""


def _shapes(value: Any) -> str:
    """Shapes of one field, of the maps of all stages, or of whole features."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, Features):
        parts = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
        return ", ".join(f"{key} {_shapes(part)}" for key, part in parts.items() if part is not None)
    if isinstance(value, Sequence):
        return f"[{', '.join(_shapes(part) for part in value)}]"
    return type(value).__name__
