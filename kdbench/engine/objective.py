"""The weighted sum of losses that trains a network, with every term's value kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.engine.balance import Balance, build_balance
from kdbench.engine.declared import declared_needs, reads_labels
from kdbench.engine.term import Term
from kdbench.engine.weights import first_without_any, weight_at
from kdbench.errors import UsageError
from kdbench.recipes.terms import LossTerm, PartSpec, Schedule
from kdbench.types import Batch, Context, Features, Widths

__all__ = ["Objective", "declared_needs", "reads_labels"]


@dataclass(frozen=True)
class Weighting:
    """How the terms of an objective were weighted in one step.

    Attributes:
        weights: The recipe's weight of each term.
        factors: What the balance multiplied them with `(n_terms,)`; None for 1.
    """

    weights: list[float]
    factors: Tensor | None = None


class Objective(nn.Module):
    """Weighted sum of losses over student and teacher branches.

    A loss with a teacher is averaged over all pairs of branches; a supervised one over the branches of the network in
    training. Losses that learn something (projectors, memories) are parameters of the objective, not of the student.

    Args:
        terms: Weight and parameters of each loss by its registered name.
        context: Widths, label vectors and sizes that losses are built from.
        owner: Key of the recipe that the terms stand under (`student`, `teacher`), for messages.
        balance: What adapts the weights to each other; None leaves them as the recipe has them.
        heads: Widths of each head of the network in training; by default it has one, of the context's student.

    Attributes:
        fixed: Whether every term counts the same in every step.
        weighting: How the terms were weighted when they were last evaluated.

    Raises:
        UsageError: An unknown loss, balance or parameter; a loss whose needs the networks do not meet; or weights that
            are all zero at some time.
    """

    def __init__(
        self,
        terms: Mapping[str, LossTerm],
        context: Context,
        *,
        owner: str,
        balance: PartSpec | None = None,
        heads: Sequence[Widths] = (),
    ) -> None:
        super().__init__()
        self._check_weights(terms, owner)
        self.terms = nn.ModuleDict(
            {
                _key(name): Term(name, term, context, where=f"{owner}.losses.{name}", heads=heads)
                for name, term in terms.items()
            }
        )
        asked = self._ablations()
        if len(asked) > 1:
            (one, first), (other, second) = list(asked.items())[:2]
            raise UsageError(
                f"{first} wants the ablation '{one}' and {second} '{other}'; a network is ablated in one way",
                hint=f"Make them agree: --set {second}.ablation={one}",
            )
        self.balance = build_balance(balance, [term.weight for term in terms.values()], where=f"{owner}.balance")
        self.fixed = balance is None and not any(isinstance(term.weight, Schedule) for term in terms.values())
        self.weighting = Weighting(self.weights_at(0.0))

    @staticmethod
    def _check_weights(terms: Mapping[str, LossTerm], owner: str) -> None:
        moment = first_without_any([term.weight for term in terms.values()])
        if moment is not None:
            when = f" after {moment:.0%} of the training" if moment else ""
            raise UsageError(
                f"{owner}.losses: every loss has weight 0{when}",
                hint=f"Give one a weight, for example --set {owner}.losses.ce.weight=1",
            )

    @property
    def names(self) -> list[str]:
        """The losses in the order of their values."""
        return [term.name for term in self._terms()]

    def weights_at(self, progress: float) -> list[float]:
        """The recipe's weight of each loss, after a share of the training's steps."""
        return [weight_at(term.weight, progress) for term in self._terms()]

    @property
    def needs_errors(self) -> bool:
        """Whether a term weighs teachers by their errors over the training part; see `tell`."""
        return any(term.mix is not None and term.mix.needs_errors for term in self._terms())

    def tell(self, errors: Tensor) -> None:
        """Tells the terms the cross-entropy of every teacher branch over the training part `(branches,)`."""
        for term in self._terms():
            term.tell(errors)

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
    def student_fields(self) -> frozenset[str] | None:
        """The same of the features of the network in training."""
        if any(not term.reads for term in self._terms()):
            return None
        return frozenset(field for term in self._terms() for field in (*term.reads, *term.needs))

    @property
    def shields(self) -> frozenset[int]:
        """Stages of the network in training that some loss teaches alone; see `Network.shielded`."""
        return frozenset(stage for term in self._terms() for stage in term.shields)

    @property
    def ablation(self) -> str:
        """Which input the losses that need one ablate: `all` or `channel`."""
        return next(iter(self._ablations()), "all")

    def _ablations(self) -> dict[str, str]:
        """What the ablated input lacks, with the first loss that asks for it."""
        asked: dict[str, str] = {}
        for term in self._terms():
            if "ablated_logits" in term.needs:
                asked.setdefault(term.ablation, term.where)
        return asked

    def _terms(self) -> list[Term]:
        return [term for term in self.terms.values() if isinstance(term, Term)]

    def forward(
        self, student: Sequence[Features], teacher: Sequence[Features], batch: Batch, progress: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Evaluates every term.

        Args:
            student: Features of each branch of the network in training.
            teacher: Features of each branch of the frozen teacher; empty where there is none.
            batch: The trials.
            progress: Share of the training's steps that have been taken, which scheduled weights, and losses that
                define `at`, depend on.

        Returns:
            The weighted sum (scalar) and the values of the terms before weighting `(n_terms,)`, with their graph.
        """
        for term in self._terms():
            term.at(progress)
        # Weighted and summed in float32, whatever precision a loss returns.
        values = [term(student, teacher, batch).float() for term in self._terms()]
        weights = self.weights_at(progress)
        self.weighting = Weighting(weights, self.balance.factors())
        return self.balance(weights, values), torch.stack(values)

    def apart(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the last step in two: the terms without a teacher and those with one; see `forward`.

        Args:
            values: The terms before weighting `(n_terms,)`, with their graph.
        """
        task, taught = values.new_zeros(()), values.new_zeros(())
        for term, weight, value in zip(self._terms(), self.weighting.weights, values, strict=True):
            # One of weight 0 is watched and changes nothing, not even where it is undefined.
            if weight and term.with_teacher:
                taught = taught + weight * value
            elif weight:
                task = task + weight * value
        return task, taught

    def check_apart(self, where: str) -> None:
        """Refuses to be taken apart where there is nothing on one side, or one factor for both.

        Args:
            where: Key of the optimizer in the recipe, for the message.

        Raises:
            UsageError: All terms have a teacher, none has, or a balance adapts their weights.
        """
        kinds = {term.with_teacher for term in self._terms()}
        if len(kinds) < 2:
            which = "none of its losses compares with a teacher" if kinds == {False} else "all of its losses do"
            raise UsageError(
                f"{where}: dot tells the gradient of the teacher from that of the labels, and {which}",
                hint=f"Choose SGD, --set {where}.name=sgd, or a method with ce and a distillation loss.",
            )
        if type(self.balance) is not Balance:
            raise UsageError(
                f"{where}: dot takes the weights of the losses as they are written, and a balance adapts them",
                hint="Leave one of the two out.",
            )

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars that losses report beside their value, on the device, named `loss/what`."""
        report: dict[str, Tensor] = {}
        for term in self._terms():
            reports = [loss.diagnostics() for loss in term.losses if callable(getattr(loss, "diagnostics", None))]
            for what in reports[0] if reports else ():
                report[f"{term.name}/{what}"] = torch.stack([one[what] for one in reports if what in one]).mean()
        return report


def _key(name: str) -> str:
    """A name that a module may have: without dots, and none that a dictionary of modules has for itself."""
    key = name.replace("%", "%25").replace(".", "%2E")
    return f"{key}%" if hasattr(nn.ModuleDict(), key) else key
