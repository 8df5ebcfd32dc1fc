"""A loss that is ready to be called: built as the framework builds it, on the fields that it declares and no others."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.engine.declared import OPTIONAL
from kdbench.engine.term import Term
from kdbench.recipes.terms import LossTerm
from kdbench.registry import part_of
from kdbench.testing.base import Skipped
from kdbench.testing.samples import (
    GROUPS,
    SCALES,
    SPACE,
    STUDENT,
    TEACHER,
    TEACHERS,
    TRAIN_SIZE,
    Sample,
    draw,
    tensors,
    with_series,
)
from kdbench.types import Context, Features, Widths

ABLATED = "ablated_logits"


class LossCase:
    """One loss with its parameters.

    Args:
        name: Its registered name.
        component: A decorated function or module class.
        params: Keyword parameters, as in a recipe.
        reference: What the value should be; see `kdbench.testing.check`.
        tolerance: Largest relative difference from the reference.
        device: Where to check.
    """

    def __init__(
        self,
        name: str,
        component: Any,
        *,
        params: Mapping[str, Any] | None = None,
        reference: Any = None,
        tolerance: float = 1e-4,
        device: str = "cpu",
    ) -> None:
        self.component = component
        self.name = name
        self.declares = part_of(component).declares
        self.params = dict(params or {})
        self.reference = reference
        self.tolerance = tolerance
        self.device = torch.device(device)
        self.is_module = inspect.isclass(component)
        self.distils: bool = self.declares["teacher"]
        self.on: str | None = self.declares["on"]
        self._built: dict[tuple[Widths, Widths, int, float], Term] = {}
        self.build()
        if not self.distils:
            # Teachers are trained by it too, and have no teacher of their own.
            self._build(self.context(alone=True), 1.0)

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """Fields of `Features` that the loss says it reads; all of them where it does not say."""
        declared = (self.on,) if self.on else tuple(self.declares["reads"])
        everything = ("logits", "stages", "embedding", *(name for name in (*OPTIONAL, ABLATED) if name in self.needs))
        return declared or everything

    @property
    def needs(self) -> frozenset[str]:
        """Optional fields that the loss has declared."""
        return frozenset(self.declares["needs"]) | ({self.on} & set(OPTIONAL) if self.on else frozenset())

    @property
    def cut(self) -> frozenset[str]:
        """Fields of the student from which the loss cuts the gradient on purpose, wholly or in part."""
        return frozenset(self.declares["detaches"]) | {ABLATED}

    def build(
        self, teacher: Widths = TEACHER, *, student: Widths = STUDENT, seed: int = 0, weight: float = 1.0
    ) -> Term:
        """A new term of an objective around the loss, with the framework's projectors, in training mode.

        Args:
            teacher: Widths of each teacher branch.
            student: Widths of the student.
            seed: Seed of whatever is drawn at construction.
            weight: The term's weight.
        """
        key = (teacher, student, seed, weight)
        if key not in self._built:
            torch.manual_seed(seed)
            self._built[key] = self._build(self.context(teacher, student), weight).to(self.device).train()
        term = self._built[key]
        # Without parameters and memory a term may share all that it holds.
        return copy.deepcopy(term) if self.is_module or any(True for _ in term.parameters()) else copy.copy(term)

    def _build(self, context: Context, weight: float) -> Term:
        return Term(self.name, self.spec(weight), context, where=f"student.losses.{self.name}")

    def spec(self, weight: float = 1.0) -> LossTerm:
        """The term as a recipe has it."""
        return LossTerm(weight=weight, **self.params)

    def parameter(self, name: str) -> Any:
        """The value of one of its keyword parameters: as given, else the default; None where there is none."""
        signature = inspect.signature(self.component).parameters
        default = signature[name].default if name in signature else None
        return self.params.get(name, None if default is inspect.Parameter.empty else default)

    def context(self, teacher: Widths = TEACHER, student: Widths = STUDENT, *, alone: bool = False) -> Context:
        """What the framework tells a loss at construction; optional parts are there only where it needs them."""
        classes = student.logits
        vectors = 0.5 * torch.randn(classes, SPACE, generator=torch.Generator().manual_seed(7))
        return Context(
            classes=classes,
            student=self._widths(student),
            teachers=() if alone else (self._widths(teacher),) * TEACHERS,
            label_vectors=vectors if {"semantic", "label_vectors"} & self.needs else None,
            train_size=TRAIN_SIZE,
            groups=torch.arange(classes) % GROUPS,
            student_classifiers=self._classifiers("student", student, 1),
            teacher_classifiers=self._classifiers("teacher", teacher, 0 if alone else TEACHERS),
            student_projections=self._projections(student),
            teacher_head="teacher_head" in self.needs,
            series=SCALES if "series" in self.needs else {},
        )

    def _classifiers(self, owner: str, widths: Widths, branches: int) -> tuple[nn.Linear, ...]:
        """Random classifiers, a teacher's frozen; the scores of a sample do not come from them."""
        if f"{owner}_classifiers" not in self.needs:
            return ()
        generator = torch.Generator().manual_seed(8)
        layers = [nn.utils.skip_init(nn.Linear, widths.embedding, widths.logits) for _ in range(branches)]
        for layer in layers:
            for parameter in layer.parameters():
                nn.init.normal_(parameter, std=widths.embedding**-0.5, generator=generator)
        return tuple(layer.to(self.device).requires_grad_(owner == "student") for layer in layers)

    def _projections(self, widths: Widths) -> tuple[nn.Linear, ...]:
        """Random projections of two branches to halves of the embedding; the embedding of a sample is not theirs."""
        if "student_projections" not in self.needs:
            return ()
        generator = torch.Generator().manual_seed(9)
        layers = [nn.utils.skip_init(nn.Linear, 3, widths.embedding // 2, bias=False) for _ in range(2)]
        for layer in layers:
            nn.init.normal_(layer.weight, generator=generator)
        return tuple(layer.to(self.device) for layer in layers)

    def value(self, term: Term, sample: Sample) -> Tensor:
        """One call, as the training loop makes it; the tensors in the loss's hands are no leaves."""
        student = self.shown(sample.student)
        teachers = [self.seen(teacher) for teacher in sample.teachers]
        value: Tensor = term([student], teachers if self.distils else [], sample.batch)
        return value

    def bare(self, sample: Sample, teacher: Widths = TEACHER) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The loss itself with what the framework would call it with for the first teacher branch.

        Returns:
            The function or module, its positional and its keyword arguments.
        """
        term = self.build(teacher)
        ours, theirs = self.shown(sample.student), [self.seen(features) for features in sample.teachers]
        student, *teachers = (
            features if self.on is None else getattr(features, self.on) for features in (ours, *theirs)
        )
        if len(term.projectors):
            student = term.projectors[0](student)
        extra = {"batch": sample.batch} if term.takes_batch else {}
        compared = (teachers,) if self.declares["all_teachers"] else (teachers[0],)
        return term.losses[0], (student, *(compared if self.distils else ())), extra

    def shown(self, student: Features) -> Features:
        """The student's features with the fields that a network gives a loss of these needs."""
        return self._optional(student).mapped(torch.clone)

    def seen(self, teacher: Features) -> Features:
        """The teacher's features with the fields that the framework keeps for a loss that reads these."""
        kept = self._optional(teacher).mapped(torch.clone)
        if self.on or self.declares["reads"]:
            kept = kept.replace(
                stages=kept.stages if "stages" in self.fields else (),
                semantic=kept.semantic if "semantic" in self.fields else None,
                group_logits=kept.group_logits if "group_logits" in self.fields else None,
                token_errors=kept.token_errors if "token_errors" in self.fields else None,
            )
        return kept

    def inputs(self, features: Features) -> dict[str, Tensor]:
        """The tensors of the fields that the loss reads, by name."""
        return {name: t for name, t in tensors(features).items() if name.partition("[")[0] in self.fields}

    def gradients(self, value: Tensor, sample: Sample) -> dict[str, Tensor | None]:
        """The gradient of a value on each tensor of the student that the loss reads; None where there is no path."""
        inputs = self.inputs(sample.student)
        if not value.requires_grad:
            return dict.fromkeys(inputs)
        slopes = torch.autograd.grad(value, list(inputs.values()), allow_unused=True, retain_graph=True)
        return dict(zip(inputs, slopes, strict=True))

    def draw(self, **options: Any) -> Sample:
        """A sample on the case's device; arguments as in `kdbench.testing.samples.draw`."""
        sample = draw(**options)
        if "series" in self.needs:
            sample = with_series(sample, options.get("seed", 0))
        return sample.to(device=self.device)

    def _optional(self, features: Features) -> Features:
        return features.replace(
            **{name: getattr(features, name) if name in self.needs else None for name in (*OPTIONAL, ABLATED)}
        )

    def _widths(self, widths: Widths) -> Widths:
        return Widths(
            widths.logits,
            widths.stages,
            widths.embedding,
            widths.semantic if "semantic" in self.needs else None,
            widths.group_logits if "group_logits" in self.needs else None,
            token_errors=widths.token_errors if "token_errors" in self.needs else None,
        )

    def distilling(self) -> None:
        """Skips a check that is about teachers.

        Raises:
            Skipped: The loss compares with none.
        """
        if not self.distils:
            raise Skipped("it is supervised: it takes no teacher")


def is_zero(gradient: Tensor | None) -> bool:
    """Whether nothing comes back."""
    return gradient is None or not bool(gradient.any())
