"""One loss of an objective: built from its name, checked against the networks, and called on their features."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.engine.projector import Projector
from kdbench.errors import KdbenchError, RunFailed, UsageError, unknown
from kdbench.recipes.schema import LossTerm
from kdbench.registry import part_of, registry
from kdbench.types import Batch, Context, Features, Widths

FIELDS = ("logits", "stages", "embedding", "semantic", "group_logits")
OPTIONAL = ("semantic", "group_logits")
"""Fields of which a network has none unless a loss needs it."""
_READABLE = tuple(each.name for each in dataclasses.fields(Features))
_NEEDABLE = (*_READABLE, *(each.name for each in dataclasses.fields(Context)))
_OWNERS = ("student", "teacher")
_GIVES = {"semantic": "se", "group_logits": "group_ce"}


def declared(name: str) -> Mapping[str, Any]:
    """What a loss declares, with every name of a field checked.

    Args:
        name: Registered name of the loss.

    Raises:
        UsageError: No such loss, or it is declared with a field that does not exist.
    """
    declares = part_of(registry("loss").get(name)).declares
    for what, fields, known in (
        ("on", (declares["on"],) if declares["on"] is not None else (), FIELDS),
        ("reads", declares["reads"], _READABLE),
        ("needs", declares["needs"], _NEEDABLE),
    ):
        for field in fields:
            if field not in known:
                raise unknown(f"field in '{what}' of the loss '{name}':", field, known)
    return declares


def read_class_names(names: Iterable[str]) -> bool:
    """Whether one of some losses needs vectors of the class names.

    Args:
        names: Registered names of losses.
    """
    return bool(declared_needs(names) & {"semantic", "label_vectors"})


def declared_needs(names: Iterable[str]) -> frozenset[str]:
    """Optional fields of `Features` and `Context` that losses declare, before any network is built.

    Args:
        names: Registered names of losses.
    """
    needs: set[str] = set()
    for name in names:
        declares = declared(name)
        needs |= {*declares["needs"], *({declares["on"]} & set(OPTIONAL))}
    return frozenset(needs)


def reads_labels(name: str) -> str | None:
    """What a loss does with labels: `needed`, `optional` or `unused`; None where it does not say and may read them.

    Args:
        name: Registered name of the loss.
    """
    reading: str | None = declared(name)["labels"]
    if reading is not None:
        return reading
    component: Any = registry("loss").get(name)
    call = getattr(component, "forward", component)
    return None if "batch" in inspect.signature(call).parameters else "unused"


def trains_logits(name: str) -> bool:
    """Whether a loss says that it reads the student's logits, and so trains the classifier.

    Args:
        name: Registered name of the loss.
    """
    declares = declared(name)
    return "logits" in (declares["on"], *declares["reads"])


class Term(nn.Module):
    """One loss with its weight, its parameters and, where widths differ, its projectors.

    Args:
        name: Registered name of the loss.
        spec: Weight and parameters.
        context: Widths, label vectors and sizes that it is built from.
        where: Key of the recipe that it stands under, for messages.

    Raises:
        UsageError: An unknown loss, parameter or field, or a field that a network lacks.
    """

    def __init__(self, name: str, spec: LossTerm, context: Context, *, where: str) -> None:
        super().__init__()
        declares = declared(name)
        component = registry("loss").get(name)
        self.name = name
        self.where = where
        self.weight = spec.weight
        self.on: str | None = declares["on"]
        self.with_teacher: bool = declares["teacher"]
        self.all_teachers: bool = declares["all_teachers"]
        self.needs: tuple[str, ...] = tuple(declares["needs"]) + ((self.on,) if self.on in OPTIONAL else ())
        self.reads: tuple[str, ...] = (self.on,) if self.on else tuple(declares["reads"])
        self._check_fields(context)
        self.losses = [_build(component, name, spec.params, branch, where) for branch in self._contexts(context)]
        self.stateful = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))
        self.ablation = str(getattr(self.losses[0], "ablation", "all"))
        self.takes_batch = "batch" in inspect.signature(_call_of(self.losses[0])).parameters
        self.labels = reads_labels(name)
        self._check_call()
        self._students = len(context.student_classifiers)
        self._has_worked = False
        self.projectors = nn.ModuleList()
        if self.with_teacher and self.on and declares["project"]:
            self.projectors = nn.ModuleList(
                _projector(context.student, teacher, self.on) for teacher in context.teachers
            )

    def forward(self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch) -> Tensor:
        """The term's value, averaged over branches; a scalar.

        Raises:
            UsageError: The loss cannot be computed on these features, or returns no scalar.
            RunFailed: It raised an error after it had worked before.
        """
        if not self.with_teacher:
            rows = batch.labelled if self.labels == "needed" else None
        else:
            rows = batch.paired
            if self.labels == "needed" and batch.labelled is not None:
                rows = batch.labelled
                teacher = [branch.head(rows) for branch in teacher]
        student = [branch.head(rows) for branch in student]
        batch = batch.head(rows)
        try:
            value = torch.stack([self._scalar(result) for result in self._values(student, teacher, batch)]).mean()
        except KdbenchError as error:
            raise self._named(error) from error
        except Exception as error:
            raise self._broken(error, student, teacher) from error
        self._has_worked = True
        return value

    def _values(self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch) -> list[Any]:
        extra = {"batch": batch} if self.takes_batch else {}
        if not self.with_teacher:
            return [self._loss(place)(self._read(branch), **extra) for place, branch in enumerate(student)]
        if self.all_teachers:
            targets = [self._read(branch) for branch in teacher]
            return [self._loss(place)(self._read(branch), targets, **extra) for place, branch in enumerate(student)]
        return [
            self._loss(place, number)(self._projected(self._read(branch), number), self._read(target), **extra)
            for place, branch in enumerate(student)
            for number, target in enumerate(teacher)
        ]

    def _contexts(self, context: Context) -> list[Context]:
        """What the loss is built from: once, or for each branch of which it learns, remembers or reads something."""
        contexts = [context]
        if "student_classifiers" in self.needs:
            contexts = [
                dataclasses.replace(context, student_classifiers=(each,)) for each in context.student_classifiers
            ]
        if not self.with_teacher or self.all_teachers:
            return contexts
        classifiers = context.teacher_classifiers
        return [
            dataclasses.replace(one, teachers=(widths,), teacher_classifiers=classifiers[number : number + 1])
            for one in contexts
            for number, widths in enumerate(context.teachers)
        ]

    def _loss(self, student: int, teacher: int = 0) -> Any:
        """The loss of two branches, by their places."""
        if "student_classifiers" not in self.needs:
            return self.losses[teacher]
        return self.losses[student * (len(self.losses) // self._students) + teacher]

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
        for owner in _OWNERS:
            if f"{owner}_classifiers" in self.needs and not getattr(context, f"{owner}_classifiers"):
                raise UsageError(f"{self.where} needs the classifier of the {owner}, and there is none")
        for field in OPTIONAL:
            if field in {*self.needs, *self.reads} and context.student.of(field) is None:
                raise UsageError(f"{self.where} reads '{field}', and the network in training has none")
            if field in self.reads and self.with_teacher and any(w.of(field) is None for w in context.teachers):
                raise UsageError(
                    f"{self.where} compares '{field}' with the teacher's, and the teacher has none",
                    hint=f"Train one in it, for example --set teacher.losses.{_GIVES[field]}.weight=0.5",
                )

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
        if (
            error.message.startswith(f"{self.name}:")
            or f"'{self.name}'" in error.message
            or self.where in error.message
        ):
            return error
        return type(error)(f"{self.where}: {error.message}", hint=error.hint)

    def _broken(self, error: Exception, student: Sequence[Features], teacher: Sequence[Features]) -> KdbenchError:
        what = self.on or "features"
        shown = [f"the student's {what}: {_shapes(self._read(student[0]))}"] if student else []
        shown += [f"the teacher's: {_shapes(self._read(teacher[0]))}"] if self.with_teacher and teacher else []
        raised = f"{type(error).__name__}{_line(error, self.losses[0])}"
        text = f"{self.where} ({_origin(self.name)}) raised {raised}: {error}; {'; '.join(shown)}"
        if self._has_worked:
            return RunFailed(text)
        return UsageError(text, hint=f"See what it takes: kdbench describe {self.name}")


def _projector(student: Widths, teacher: Widths, field: str) -> nn.Module:
    ours, theirs = student.of(field), teacher.of(field)
    if ours == theirs or ours is None or theirs is None:
        return nn.Identity()
    return Projector(ours, theirs)


def check_parameters(name: str, params: Mapping[str, Any], where: str) -> None:
    """Checks the parameters that a recipe gives a loss by their names, before anything is built.

    Args:
        name: Registered name of the loss.
        params: The parameters.
        where: Key of the recipe that they stand under, for messages.

    Raises:
        UsageError: No such loss, an unknown parameter (with the near misses), or one that is missing.
    """
    component = registry("loss").get(name)
    is_class = inspect.isclass(component)
    given = {"self", "context"} if is_class else {"student", "teacher", "batch"}
    signature = inspect.signature(component.__init__ if is_class else component).parameters
    named = [key for key, parameter in signature.items() if parameter.kind not in (_ANY_POSITION, _ANY_NAME)]
    if not is_class:
        # Positional parameters without default are the features, whatever their author calls them.
        given |= {key for key in named if signature[key].default is _NONE and signature[key].kind is not _BY_NAME}
    known = [key for key in named if key not in given]
    is_open = any(parameter.kind is _ANY_NAME for parameter in signature.values())
    for key in params:
        if key in given or (key not in known and not is_open):
            raise unknown("parameter", key, ["weight", *known], of=where, hint=f"See them: kdbench describe {name}")
    missing = [key for key in known if signature[key].default is _NONE and key not in params]
    if missing:
        raise UsageError(
            f"{where} needs {' and '.join(missing)}, which has no default", hint=f"Set it: --set {where}.{missing[0]}=…"
        )


def _build(component: Any, name: str, params: dict[str, Any], context: Context, where: str) -> Any:
    """A module instance, or the function with its parameters bound."""
    check_parameters(name, params, where)
    is_class = inspect.isclass(component)
    if not is_class:
        return functools.partial(component, **params) if params else component
    takes = inspect.signature(component.__init__).parameters
    extra = {"context": context} if "context" in takes else {}
    try:
        return component(**params, **extra)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{where} cannot be built: {error}", hint=f"See its parameters: kdbench describe {name}"
        ) from error


_NONE = inspect.Parameter.empty
_BY_NAME = inspect.Parameter.KEYWORD_ONLY
_ANY_POSITION, _ANY_NAME = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


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
