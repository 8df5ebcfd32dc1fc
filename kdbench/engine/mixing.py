"""How the class scores of several teachers become those of one, for a loss that compares with one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError, unknown, unknown_value
from kdbench.recipes.placed import hint_at
from kdbench.recipes.terms import PartSpec
from kdbench.types import Batch, Features, Widths


class Mix(nn.Module):
    """The weighted sum `z = Σ_m w_m z_m` of the scores of M teacher branches; this base weighs them alike.

    Attributes:
        needs_labels: Whether it reads the label of each trial.
        needs_errors: Whether it reads each branch's cross-entropy over the training part; see `tell`.
        by_labels: Whether its weights come from labels, be it those of the batch or of the training part.
    """

    needs_labels = False
    needs_errors = False
    by_labels = False

    def __init__(self, names: Sequence[str], widths: Sequence[Widths]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.widths = tuple(widths)

    def tell(self, errors: Tensor) -> None:
        """Takes the cross-entropy of each branch over the training part `(M,)`."""

    def weights(self, teachers: Sequence[Features], batch: Batch) -> Tensor:  # noqa: ARG002
        """w, `(M,)` or `(B, M)`; sums to one over M."""
        return teachers[0].logits.new_full((len(teachers),), 1 / len(teachers))

    def error(self, scores: Tensor, batch: Batch) -> Tensor | None:  # noqa: ARG002
        """What weights that learn with the student go by, for mixed scores `(B, K)`, a scalar; None: they do not."""
        return None

    def forward(self, teachers: Sequence[Features], batch: Batch) -> Tensor:
        """The mixed scores `(B, K)` of the teachers' features of a batch."""
        scores = torch.stack([teacher.logits.float() for teacher in teachers], dim=1)
        weights = self.weights(teachers, batch)
        # Weights (M,) are those of every row; (B, M) stay as they are.
        return (weights.expand(len(scores), -1)[..., None] * scores).sum(1)


class Given(Mix):
    """Weights that the recipe gives to the teachers by their names; a teacher's branches share its weight."""

    def __init__(self, names: Sequence[str], widths: Sequence[Widths], **by_name: float) -> None:
        super().__init__(names, widths)
        for name in by_name:
            if name not in self.names:
                raise unknown("teacher", name, dict.fromkeys(self.names), of="mix", hint=_weights(self.names))
        for name in self.names:
            if name not in by_name:
                raise UsageError(f"mix: no weight for the teacher {name}", hint=_weights(self.names))
        shares = [by_name[name] / self.names.count(name) for name in self.names]
        if min(shares) < 0 or not sum(shares) > 0:
            raise UsageError("mix: the weights are below 0, or all 0", hint=_weights(self.names))
        # A buffer moves with the module; it is not saved, since the recipe gives it.
        self.register_buffer("shares", torch.tensor(shares) / sum(shares), persistent=False)

    def weights(self, teachers: Sequence[Features], batch: Batch) -> Tensor:  # noqa: ARG002
        """See the base class."""
        shares = self.shares
        assert isinstance(shares, Tensor)
        return shares


class Softmin(Mix):
    """Teachers that are wrong count less: `w = softmax_m(-CE_m / τ)` (Radevski et al., ICCV 2023).

    Args:
        names: The teacher of each branch.
        widths: Of each branch.
        tau: τ > 0.
        over: CE of each `trial`, or of the `set`: its mean over the trials of the training part that have a label.
    """

    by_labels = True

    def __init__(
        self,
        names: Sequence[str],
        widths: Sequence[Widths],
        *,
        tau: float = 1.0,
        over: Literal["trial", "set"] = "trial",
    ) -> None:
        super().__init__(names, widths)
        if not isinstance(tau, int | float) or not tau > 0:
            raise ParameterError(f"mix: tau = {tau!r}, expected a positive number", "tau")
        if over not in ("trial", "set"):
            raise unknown_value("over", over, ("trial", "set"), of="softmin")
        self.tau = tau
        self.needs_labels = over == "trial"
        self.needs_errors = over == "set"
        self.register_buffer("errors", None, persistent=False)

    def tell(self, errors: Tensor) -> None:
        """See the base class."""
        self.errors = errors

    def weights(self, teachers: Sequence[Features], batch: Batch) -> Tensor:
        """See the base class."""
        errors = self.errors
        if self.needs_labels:
            errors = torch.stack([_errors(teacher.logits, batch.label) for teacher in teachers], dim=1)
        elif errors is None:
            # Before the training, a loss is tried once on networks that know nothing.
            errors = teachers[0].logits.new_zeros(len(teachers))
        return (-errors / self.tau).softmax(-1)


class Confidence(Mix):
    """Each trial follows the one teacher that gives its label the highest probability, as in the loss `pskd`."""

    needs_labels = by_labels = True

    def weights(self, teachers: Sequence[Features], batch: Batch) -> Tensor:
        """See the base class."""
        errors = torch.stack([_errors(teacher.logits, batch.label) for teacher in teachers], dim=1)
        return torch.zeros_like(errors).scatter(1, errors.argmin(1, keepdim=True), 1)


class Attention(Mix):
    """Weights that learn from the teachers' embeddings: `w = softmax_m(vᵀ tanh(U_m h_m))`, as MMAD's attention.

    They learn with the student, by the cross-entropy of the mixed scores: by the loss that they are part of they would
    choose the teacher that is easiest to follow. U_m and v are parameters of the objective.

    Args:
        names: The teacher of each branch.
        widths: Of each branch.
        hidden: Width of U h.
    """

    by_labels = True

    def __init__(self, names: Sequence[str], widths: Sequence[Widths], *, hidden: int = 64) -> None:
        super().__init__(names, widths)
        if not isinstance(hidden, int) or hidden < 1:
            raise ParameterError(f"mix: hidden = {hidden!r}, expected a positive width", "hidden")
        self.layers = nn.ModuleList(nn.Linear(width.embedding, hidden) for width in self.widths)
        self.score = nn.Linear(hidden, 1, bias=False)

    def weights(self, teachers: Sequence[Features], batch: Batch) -> Tensor:  # noqa: ARG002
        """See the base class."""
        pairs = zip(self.layers, teachers, strict=True)
        scores = torch.cat([self.score(layer(teacher.embedding.float()).tanh()) for layer, teacher in pairs], dim=1)
        return scores.softmax(1)

    def error(self, scores: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy over the labelled trials."""
        labelled = batch.head(batch.labelled)
        # Of no trial the mean would be NaN.
        return F.cross_entropy(scores[: len(labelled)], labelled.label) if len(labelled) else scores.sum() * 0


_HINT = "docs/networks.md has the mixes with their parameters."
MIXES: dict[str, type[Mix]] = {
    "mean": Mix,
    "weights": Given,
    "softmin": Softmin,
    "confidence": Confidence,
    "attention": Attention,
}


def _weights(names: Sequence[str]) -> str:
    """The next step for weights that do not fit the teachers."""
    return f"Give each teacher one: mix: {{name: weights, {', '.join(f'{name}: 1' for name in dict.fromkeys(names))}}}"


def build_mix(spec: PartSpec, names: Sequence[str], widths: Sequence[Widths], where: str) -> Mix:
    """What mixes the teachers of a loss.

    Args:
        spec: Name and parameters.
        names: The teacher of each branch.
        widths: Of each branch.
        where: Key of the loss in the recipe, for messages.

    Raises:
        UsageError: An unknown mix or parameter, or one branch alone.
    """
    if spec.name not in MIXES:
        raise unknown("mix", spec.name, MIXES, of=where, hint=_HINT)
    if len(widths) < 2:
        raise UsageError(
            f"{where}.mix = {spec.name} has nothing to mix: it compares with one teacher of one branch",
            hint=f"Leave it out: --set {where}.mix=null",
        )
    kind = MIXES[spec.name]
    known = [name for name in inspect.signature(kind).parameters if name not in ("names", "widths", "by_name")]
    for key in spec.params:
        if kind is not Given and key not in known:
            raise unknown("parameter", key, known, of=f"{where}.mix", hint=_HINT)
    try:
        return kind(names, widths, **spec.params)
    except UsageError as error:
        # A mix does not know where it stands.
        said = error.message.removeprefix("mix")
        raise UsageError(
            f"{where}.mix{said}" if said != error.message else f"{where}.mix: {said}",
            hint=hint_at(error, f"{where}.mix", spec.name, kind),
        ) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}.mix cannot be built with {spec.params}: {error}", hint=_HINT) from error


def _errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each trial `(B,)`, float32."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def mixed(scores: Tensor, like: Features) -> Features:
    """Features of the one teacher that several are mixed to; it has class scores alone."""
    return Features(scores, (), like.embedding)


def virtual_widths(widths: Sequence[Widths]) -> Widths:
    """Widths of that teacher."""
    return Widths(widths[0].logits, (), widths[0].embedding)


def unmixable(declares: Any) -> str | None:
    """Why a loss cannot compare with mixed teachers; None where it can.

    Args:
        declares: What the loss declares.
    """
    if not declares["teacher"]:
        return "compares with no teacher"
    if declares["all_teachers"]:
        return "takes all teachers at once"
    read = {declares["on"]} if declares["on"] else {*declares["reads"]}
    return None if read == {"logits"} else "compares more than class scores, which alone are mixed"
