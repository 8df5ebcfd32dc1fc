"""DOT: SGD with a momentum for the labels' gradient and a larger one for the teacher's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

TASK, TAUGHT = "task_momentum", "taught_momentum"


class DistillationOriented(Optimizer):
    """The distillation-oriented trainer (Zhao et al., ICCV 2023, algorithm 1).

    Each parameter has two moments, of the gradient of the terms without a teacher and of those with one:
    `v_task ← g_task + (μ − Δ) v_task`, `v_kd ← g_kd + (μ + Δ) v_kd`, `θ ← θ − γ (v_task + v_kd)`. As in the authors'
    code, a parameter that only one kind of term reaches keeps the momentum μ, and weight decay is added to the task's
    gradient, or to the teacher's where that is the only one (there, their code leaves it out of the first step). With
    Δ = 0 it is SGD.

    Args:
        groups: Parameter groups, each with its `weight_decay`.
        lr: Learning rate γ.
        momentum: μ.
        delta: Δ, at most μ and less than 1 − μ.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float, delta: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.momentum = momentum
        self.delta = delta
        self._gradients: dict[Tensor, tuple[Tensor | None, Tensor | None]] = {}

    def backward(
        self,
        task: Tensor,
        taught: Tensor,
        added_up: Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]] = lambda gradients: gradients,
    ) -> None:
        """Takes the gradients of both losses apart; `grad` of each parameter is their sum.

        Args:
            task: Weighted sum of the terms without a teacher, a scalar.
            taught: Of those with one.
            added_up: The sums of gradients over the processes of a run.
        """
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        both = [
            # Both losses share one graph, so that the first pass must leave it standing.
            torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
            if loss.requires_grad
            else (None,) * len(parameters)
            for loss, keep in ((task, True), (taught, False))
        ]
        totals = [added_up(gradients) for gradients in both]
        self._gradients = dict(zip(parameters, zip(*totals, strict=True), strict=True))
        for parameter, gradients in self._gradients.items():
            reached = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = sum(reached[1:], reached[0]) if reached else None

    def clip(self, norm: Tensor, largest: float) -> None:
        """Scales the gradients of both losses as the clipping of their sum's norm does."""
        # 1e-6 as in torch's own clipping, so that both scale alike.
        scale = (largest / (norm + 1e-6)).clamp(max=1.0)
        for parameter, (task, taught) in self._gradients.items():
            self._gradients[parameter] = (
                None if task is None else task * scale,
                None if taught is None else taught * scale,
            )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Changes the parameters by the gradients that `backward` took."""
        if closure is not None:
            raise ValueError("the gradients are those of the last backward(task, taught)")
        for group in self.param_groups:
            for parameter in group["params"]:
                task, taught = self._gradients.get(parameter, (None, None))
                if task is None and taught is None:
                    continue
                decay = group["weight_decay"] * parameter
                # One that a single kind of term reaches has one moment, and needs no share of the other's momentum.
                delta = 0.0 if task is None or taught is None else self.delta
                # Weight decay goes with the labels' gradient, and with the other only where there is no such one.
                for name, gradient, momentum in (
                    (TASK, task if task is None else task + decay, self.momentum - delta),
                    (TAUGHT, taught + decay if task is None and taught is not None else taught, self.momentum + delta),
                ):
                    if gradient is not None:
                        state = self.state[parameter]
                        moment = state.get(name)
                        state[name] = gradient.clone() if moment is None else moment.mul_(momentum).add_(gradient)
                        parameter.sub_(group["lr"] * state[name])
        # A second step without a backward in between must not take the same gradients again.
        self._gradients = {}
