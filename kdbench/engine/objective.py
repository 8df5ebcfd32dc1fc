"""The weighted sum of losses that trains a network, with every term's value kept apart."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.engine.projector import Projector
from kdbench.errors import UsageError, unknown
from kdbench.recipe import LossTerm
from kdbench.registry import part_of, registry
from kdbench.types import Batch, Context, Features, Widths

FIELDS = ("logits", "stages", "embedding", "semantic", "group_logits")
OPTIONAL = ("semantic", "group_logits")
"""Fields of which a network has none unless a loss needs it."""


class Objective(nn.Module):
    """Weighted sum of losses over student and teacher branches.

    A loss with a teacher is averaged over all pairs of branches; a supervised one over the branches of the network in
    training. Losses that learn something (projectors, memories) are parameters of the objective, not of the student.

    Args:
        terms: Weight and parameters of each loss by its registered name.
        context: Widths, label vectors and sizes that losses are built from.
        owner: Key of the recipe that the terms stand under (`student`, `teacher`), for messages.

    Raises:
        UsageError: An unknown loss or parameter, or a loss whose needs the networks do not meet.
    """

    def __init__(self, terms: Mapping[str, LossTerm], context: Context, *, owner: str) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(
            {_key(name): Term(name, term, context, where=f"{owner}.losses.{name}") for name, term in terms.items()}
        )

    @property
    def names(self) -> list[str]:
        """The losses in the order of their values."""
        return [term.name for term in self._terms()]

    @property
    def weights(self) -> list[float]:
        """The weight of each loss."""
        return [term.weight for term in self._terms()]

    @property
    def needs(self) -> frozenset[str]:
        """Optional fields of `Features` that some loss needs."""
        return frozenset(field for term in self._terms() for field in term.needs)

    @property
    def teacher_fields(self) -> frozenset[str] | None:
        """Fields of the teacher's features that are read; None where a loss takes whole features."""
        read: set[str] = set()
        for term in self._terms():
            if term.with_teacher and not term.reads:
                return None
            if term.with_teacher:
                read.update(term.reads)
        return frozenset(read)

    @property
    def ablation(self) -> str:
        """Which input the losses that need one ablate: `all` or `channel`."""
        return next((term.ablation for term in self._terms() if "ablated_logits" in term.needs), "all")

    def _terms(self) -> list[Term]:
        return [term for term in self.terms.values() if isinstance(term, Term)]

    def forward(self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch) -> tuple[Tensor, Tensor]:
        """Evaluates every term.

        Args:
            student: Features of each branch of the network in training.
            teacher: Features of each branch of the frozen teacher; empty where there is none.
            batch: The trials.

        Returns:
            The weighted sum (scalar) and the values of the terms before weighting `(n_terms,)`, with their graph.
        """
        values = torch.stack([term(student, teacher, batch).float() for term in self._terms()])
        # A term of weight 0 is watched and changes nothing, not even where it is undefined.
        used = [weight * value for weight, value in zip(self.weights, values, strict=True) if weight]
        if not used:
            raise UsageError(
                "every loss has weight 0", hint="Give one a weight, for example --set student.losses.ce.weight=1"
            )
        return torch.stack(used).sum(), values

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars that losses report beside their value, on the device, named `loss/what`."""
        report: dict[str, Tensor] = {}
        for term in self._terms():
            held = [loss.diagnostics() for loss in term.losses if callable(getattr(loss, "diagnostics", None))]
            for what in held[0] if held else ():
                report[f"{term.name}/{what}"] = torch.stack([one[what] for one in held if what in one]).mean()
        return report


def declared_needs(names: Iterable[str]) -> frozenset[str]:
    """Optional fields of `Features` and `Context` that losses declare, before any network is built.

    Args:
        names: Registered names of losses.
    """
    needs: set[str] = set()
    for name in names:
        declares = part_of(registry("loss").get(name)).declares
        needs |= {*declares["needs"], *({declares["on"]} & set(OPTIONAL))}
    return frozenset(needs)


class Term(nn.Module):
    """One loss with its weight, its parameters and, where widths differ, its projectors.

    Args:
        name: The loss's registered name.
        spec: Weight and parameters.
        context: What the loss is built from.
        where: Its key in the recipe, for messages.
        component: The loss itself, where it is not registered.
    """

    def __init__(self, name: str, spec: LossTerm, context: Context, *, where: str, component: Any = None) -> None:
        super().__init__()
        component = registry("loss").get(name) if component is None else component
        declares = part_of(component).declares
        self.name = name
        self.weight = spec.weight
        self.on: str | None = declares["on"]
        self.with_teacher: bool = declares["teacher"]
        self.all_teachers: bool = declares["all_teachers"]
        self.needs: tuple[str, ...] = tuple(declares["needs"]) + ((self.on,) if self.on in OPTIONAL else ())
        self.reads: tuple[str, ...] = (self.on,) if self.on else tuple(declares["reads"])
        if self.on is not None and self.on not in FIELDS:
            raise UsageError(f"the loss '{name}' is declared on '{self.on}', expected one of {', '.join(FIELDS)}")
        if self.with_teacher and not context.teachers:
            raise UsageError(
                f"{where} compares with a teacher, and this network has none",
                hint=f"Remove it: --set {where}=null",
            )
        contexts = [context]
        if self.with_teacher and not self.all_teachers:
            # What a loss learns or remembers of a teacher belongs to one branch.
            contexts = [replace(context, teachers=(widths,)) for widths in context.teachers]
        self.losses = [_build(component, spec.params, each, where) for each in contexts]
        self.stateful = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))
        self.ablation = str(getattr(self.losses[0], "ablation", "all"))
        self._takes_batch = "batch" in inspect.signature(_call_of(self.losses[0])).parameters
        self.projectors = nn.ModuleList()
        if self.with_teacher and self.on and declares["project"]:
            self.projectors = nn.ModuleList(
                _projector(context.student, teacher, self.on) for teacher in context.teachers
            )

    def forward(self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch) -> Tensor:
        """The term's value, averaged over branches; a scalar."""
        extra = {"batch": batch} if self._takes_batch else {}
        if not self.with_teacher:
            values = [self.losses[0](self._read(branch), **extra) for branch in student]
        elif self.all_teachers:
            targets = [self._read(branch) for branch in teacher]
            values = [self.losses[0](self._read(branch), targets, **extra) for branch in student]
        else:
            values = [
                self.losses[number](self._projected(self._read(branch), number), self._read(target), **extra)
                for branch in student
                for number, target in enumerate(teacher)
            ]
        return torch.stack([_scalar(value, self.name) for value in values]).mean()

    def _read(self, features: Features) -> Any:
        return features if self.on is None else getattr(features, self.on)

    def _projected(self, value: Any, number: int) -> Any:
        return self.projectors[number](value) if len(self.projectors) else value


def _projector(student: Widths, teacher: Widths, field: str) -> nn.Module:
    ours, theirs = student.of(field), teacher.of(field)
    if ours == theirs or ours is None or theirs is None:
        return nn.Identity()
    return Projector(ours, theirs)


def _build(component: Any, params: dict[str, Any], context: Context, where: str) -> Any:
    """A module instance, or the function with its parameters bound."""
    is_class = inspect.isclass(component)
    given = {"self", "context"} if is_class else {"student", "teacher", "batch"}
    signature = inspect.signature(component.__init__ if is_class else component).parameters
    if not is_class:
        # Positional parameters without default are the features, whatever their author calls them.
        given |= {key for key, parameter in signature.items() if parameter.default is parameter.empty}
    known = [key for key in signature if key not in given]
    for key in params:
        if key not in known:
            raise unknown(f"parameter of {where}", key, known, hint=f"See them: kdbench describe {_name(where)}")
    if not is_class:
        return functools.partial(component, **params) if params else component
    extra = {"context": context} if "context" in signature else {}
    try:
        return component(**params, **extra)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{where} cannot be built: {error}", hint=f"See its parameters: kdbench describe {_name(where)}"
        ) from error


def _name(where: str) -> str:
    return where.rpartition(".")[2]


def _call_of(loss: Any) -> Callable[..., Any]:
    return loss.forward if isinstance(loss, nn.Module) else loss


def _scalar(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 0:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(
            f"the loss '{name}' returned {shape}, expected a scalar tensor", hint="Average over the batch."
        )
    return value


def _key(name: str) -> str:
    # Module names may not hold a dot.
    return name.replace(".", "_")
