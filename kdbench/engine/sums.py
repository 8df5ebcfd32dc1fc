"""What an epoch adds up on the device and reads once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kdbench.engine.objective import Objective, Weighting
from kdbench.errors import RunFailed
from kdbench.types import Batch, Features

GRADIENT = "the gradient"


RECORDED = 10
"""Epochs of a long training whose gradients are recorded, about."""


def is_recorded(epoch: int, epochs: int) -> bool:
    """Whether the norms of the terms' gradients are recorded in an epoch: the first, the last, and some between."""
    return epoch in (1, epochs) or epoch % max(1, epochs // RECORDED) == 0


class Sums:
    """Running sums of an epoch; they stay on the device and are read once.

    Args:
        objective: Names the terms, and knows how they are weighted.
        device: Where the sums are kept.
    """

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self.objective = objective
        self.names = objective.names
        count = len(self.names)
        self.values = torch.zeros(count, device=device)
        self.weights = torch.zeros(count, device=device)
        self.weighted = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device)
        self.bad_step = torch.full((), -1, device=device)
        self.bad_terms = torch.zeros(count + 1, dtype=torch.bool, device=device)
        self._masks: dict[tuple[bool, ...], Tensor] = {}
        self.diagnostics: dict[str, Tensor] = {}
        self.trials = 0
        self.labelled = 0
        self.steps = 0

    def add(
        self,
        step: int,
        student: list[Features],
        values: Tensor,
        norm: Tensor,
        diagnostics: dict[str, Tensor],
        batch: Batch,
    ) -> None:
        """Adds a step, with the weights that its objective last used.

        Args:
            step: Its number in the epoch.
            student: Features of each branch.
            values: The terms before weighting `(n_terms,)`.
            norm: Norm of the whole gradient.
            diagnostics: Scalars that losses report.
            batch: The trials.
        """
        values = values.detach()
        weighting = self.objective.weighting
        used = self._used(tuple(weight != 0 for weight in weighting.weights))
        wrong = ~torch.isfinite(torch.cat([values, norm.reshape(1)])) & used
        # Only the first bad step tells the cause: NaN spreads. `where`, since an `if` would wait for the device.
        first = wrong.any() & (self.bad_step < 0)
        self.bad_terms = torch.where(first, wrong, self.bad_terms)
        self.bad_step = torch.where(first, torch.full_like(self.bad_step, step), self.bad_step)
        self.values += values * len(batch)
        if not self.objective.fixed:
            effective = self._effective(weighting)
            self.weights += effective * len(batch)
            self.weighted += (effective * values).where(used[:-1], 0).sum() * len(batch)
        votes = torch.stack([branch.logits.detach().float().softmax(-1) for branch in student]).mean(0)
        # A trial without a label has the label -1, which is no class.
        self.correct += (votes.argmax(-1) == batch.label).sum()
        self.labelled += len(batch) if batch.labelled is None else batch.labelled
        for name, value in diagnostics.items():
            self.diagnostics[name] = self.diagnostics.get(name, torch.zeros_like(value)) + value
        self.trials += len(batch)
        self.steps += 1

    def _used(self, trained: tuple[bool, ...]) -> Tensor:
        """Which terms, and the gradient, must be finite `(n_terms + 1,)`."""
        # A term of weight 0 is watched, not trained on: it may be undefined without harm.
        if trained not in self._masks:
            marks = [torch.full_like(self.bad_terms[0], mark) for mark in (*trained, True)]
            self._masks[trained] = torch.stack(marks)
        return self._masks[trained]

    def _effective(self, weighting: Weighting) -> Tensor:
        """The weights with the factors of the balance `(n_terms,)`."""
        # Filled on the device: to copy them there would wait for it.
        weights = torch.stack([torch.full_like(self.correct, weight) for weight in weighting.weights])
        return weights if weighting.factors is None else weights * weighting.factors

    def read(self, norms: Tensor | None) -> dict[str, Any]:
        """The epoch's means, on the host; the one synchronisation of an epoch.

        Args:
            norms: Norm of each term's gradient before weighting `(n_terms,)`.
        """
        means = [finite(value) for value in (self.values / self.trials).tolist()]
        if self.objective.fixed:
            weights = self.objective.weighting.weights
            loss: float | None = sum(
                w * value for w, value in zip(weights, means, strict=True) if w and value is not None
            )
        else:
            weights = (self.weights / self.trials).tolist()
            loss = finite(float(self.weighted) / self.trials)
        # Measured before weighting, told as the optimizer felt them.
        if norms is not None:
            norms = norms * norms.new_tensor(weights).abs()
        bad = int(self.bad_step)
        return {
            "loss": loss,
            "terms": dict(zip(self.names, means, strict=True)),
            "weights": dict(zip(self.names, map(finite, weights), strict=True)),
            "grad_norms": {} if norms is None else dict(zip(self.names, map(finite, norms.tolist()), strict=True)),
            "accuracy": float(self.correct) / self.labelled if self.labelled else None,
            "diagnostics": {name: finite(float(value) / self.steps) for name, value in self.diagnostics.items()},
            "bad_step": bad if bad >= 0 else None,
            "bad_terms": [
                name for name, wrong in zip([*self.names, GRADIENT], self.bad_terms.tolist(), strict=True) if wrong
            ],
        }


def not_finite(record: dict[str, Any], phase: str, epoch: int, trials: list[str]) -> RunFailed:
    """The error for an epoch in which a term, or the gradient, was not finite.

    Args:
        record: What `Sums.read` said.
        phase: `teacher` or `student`.
        epoch: Its number.
        trials: Those of the step.
    """
    # A term that is NaN makes the gradient NaN too; the term is the cause.
    terms = ", ".join([name for name in record["bad_terms"] if name != GRADIENT] or [GRADIENT])
    return RunFailed(
        f"{phase}: {terms} became NaN or inf in epoch {epoch}, step {record['bad_step'] + 1}, on the trials "
        f"{', '.join(trials)}; the checkpoint of epoch {epoch - 1} is kept",
        hint=f"Lower the rate (--set {phase}.train.lr=…) or the weight of that term.",
    )


def finite(value: float) -> float | None:
    """The value, or None where it is NaN or infinite: what strict JSON can hold."""
    return value if math.isfinite(value) else None
