"""Automatic balance: factors that adapt the weights of an objective's terms to each other while it trains.

A balance gives every term i a factor f_i, found from the term's own value or gradient before weighting; the recipe's
weight w_i (a number or a schedule) multiplies what comes out, so that the term counts `w_i f_i`. The weights keep their
meaning, as wishes about the ratios between balanced terms, and a schedule is not undone by the balance. A term of
weight 0 is watched, as ever.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.engine.weights import weight_at
from kdbench.errors import ParameterError, UsageError, unknown
from kdbench.recipes.mistyped import mistyped
from kdbench.recipes.placed import placed
from kdbench.recipes.terms import PartSpec, Schedule

LARGEST_FACTOR = 1e6
_LARGEST_LOG_VARIANCE = 10.0


class Balance(nn.Module):
    """No balance: every factor is 1. What adapts them is a subclass.

    Attributes:
        every: Steps between two looks at the terms' gradients; 0 for never.
        lr: Peak learning rate of its own parameters, which follows the network's schedule; None where it has none.
    """

    every: int = 0
    lr: float | None = None

    def factors(self) -> Tensor | None:
        """The factors f `(n_terms,)` as they are now, without gradient; None where each is 1 for good."""
        return None

    def balanced(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """The terms as they are to be weighted, with the graph of whatever the balance learns."""
        factors = self.factors()
        return values if factors is None else [f * value for f, value in zip(factors, values, strict=True)]

    def forward(self, weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
        """The loss, a scalar: the weighted sum of the terms whose weight is not 0.

        Args:
            weights: The recipe's weight of each term at this step; at least one is not 0.
            values: The terms, scalars.
        """
        terms = self.balanced(values)
        # A term of weight 0 is watched and changes nothing, not even where it is undefined.
        return torch.stack([weight * term for weight, term in zip(weights, terms, strict=True) if weight]).sum()

    def observe(self, norms: Tensor, weights: Sequence[float]) -> None:
        """Takes in how strongly the terms pull on the network.

        Args:
            norms: Norm of each term's gradient on the network before weighting `(n_terms,)`.
            weights: The recipe's weight of each term at this step.
        """


class Uncertainty(Balance):
    """Weights by homoscedastic uncertainty, learnt beside the network.

    `L = sum_i w_i (exp(-s_i) L_i + s_i / 2)` with a learnt log-variance s_i for each term, 0 at first, so `f_i =
    exp(-s_i)` (Kendall, Gal and Cipolla, CVPR 2018, eq. 7-10, in the form for classification). At rest, `f_i` is
    `1 / (2 L_i)`. It is meant for terms that cannot become negative; |s_i| is bounded by 10.

    Args:
        terms: Number of terms.
        lr: Peak learning rate of the log-variances. Apart from the network's, since a rate that fine-tunes pretrained
            weights would leave them at 0. They take no part in the clipping of the network's gradient.
    """

    def __init__(self, terms: int, *, lr: float = 0.01) -> None:
        super().__init__()
        if lr <= 0:
            raise ParameterError(f"lr is {lr}, expected a positive number", "lr")
        self.lr = lr
        self.log_variances = nn.Parameter(torch.zeros(terms))

    def factors(self) -> Tensor:
        """`exp(-s)`."""
        return (-self.log_variances.detach()).exp()

    def balanced(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """`exp(-s_i) L_i + s_i / 2`."""
        # The parameter itself is bounded: a clamp in the graph has no gradient beyond its ends and would hold it there.
        with torch.no_grad():
            self.log_variances.clamp_(-_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        return [(-s).exp() * value + s / 2 for s, value in zip(self.log_variances, values, strict=True)]


class GradNorm(Balance):
    """Weights by gradient norms: every term pulls on the network as strongly as its weight says.

    `f_i = G / g_i` with g_i the norm of the gradient of term i on the whole network, as a moving average, and
    `G = sum_i w_i g_i / sum_i w_i`. This is where the weights of GradNorm (Chen et al., ICML 2018, eq. 1-2) come to
    rest without its term for unlike training speeds (alpha = 0). It is reached at once instead of by descent with a
    rate of its own, and the average over steps takes the place of that descent's slowness. The whole network stands
    for the last shared layer, because distillation losses end at different stages and share no other. A term without
    a gradient keeps the factor 1, and factors stay within 1e-6 … 1e6.

    Args:
        terms: Number of terms.
        every: Steps between two measurements; each costs one more backward pass for each term.
        momentum: Share of the average that a measurement leaves as it was.
    """

    norms: Tensor
    seen: Tensor
    current: Tensor

    def __init__(self, terms: int, *, every: int = 10, momentum: float = 0.9) -> None:
        super().__init__()
        if every < 1:
            raise ParameterError(f"every is {every}, expected at least 1 step", "every")
        if not 0 <= momentum < 1:
            raise ParameterError(f"momentum is {momentum}, expected 0 ≤ momentum < 1", "momentum")
        self.every = every
        self.momentum = momentum
        self.register_buffer("norms", torch.zeros(terms))
        self.register_buffer("seen", torch.zeros(terms))
        self.register_buffer("current", torch.ones(terms))

    def factors(self) -> Tensor:
        """`G / g`; 1 for what has not been measured."""
        # A step's graph holds what it was weighted with, and the next measurement writes over it.
        return self.current.clone()

    @torch.no_grad()
    def observe(self, norms: Tensor, weights: Sequence[float]) -> None:
        """Moves the averages and with them the factors of the next steps; what is not finite is passed over."""
        valid = norms.isfinite()
        # The average of ones beside the average of norms takes the bias of its first steps away (as in Adam).
        for smooth, new in ((self.norms, norms), (self.seen, torch.ones_like(norms))):
            smooth.copy_(smooth.lerp(new, 1 - self.momentum).where(valid, smooth))
        means = self.norms / self.seen.where(self.seen > 0, 1)
        wanted = sum(weight * mean for weight, mean in zip(weights, means, strict=True)) / sum(weights)
        factors = (wanted / means.where(means > 0, 1)).clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)
        # A term without any gradient keeps factor 1; its quotient would mean nothing.
        self.current.copy_(factors.where(means > 0, 1))


BALANCES: dict[str, type[Balance]] = {"uncertainty": Uncertainty, "gradnorm": GradNorm}


def build_balance(spec: PartSpec | None, weights: Sequence[float | Schedule], *, where: str) -> Balance:
    """Builds a balance by its name; none where a recipe has none.

    Args:
        spec: Name and parameters.
        weights: The recipe's weight of each term.
        where: Key of the recipe that it stands under, for messages.

    Raises:
        UsageError: No such balance or parameter, less than two terms to balance, or a negative weight.
    """
    if spec is None:
        return Balance()
    off = f"Switch it off: --set {where}=null"
    if spec.name not in BALANCES:
        raise unknown(f"balance in {where}", spec.name, BALANCES, hint=off)
    if sum(weight != 0 for weight in weights) < 2:
        raise UsageError(f"{where}: there are less than two losses with a weight, so nothing to balance", hint=off)
    ends = [end for weight in weights for end in (weight_at(weight, 0), weight_at(weight, 1))]
    if min(ends) < 0:
        raise UsageError(f"{where}: {min(ends)} is a weight, and a balance takes no negative ones", hint=off)
    component = BALANCES[spec.name]
    # `terms` is counted here and not for a recipe to set.
    known = [key for key in inspect.signature(component).parameters if key != "terms"]
    for key in spec.params:
        if key not in known:
            raise unknown("parameter", key, known, of=where, hint=f"The balance is '{spec.name}'.")
    try:
        return component(len(weights), **spec.params)
    except ParameterError as error:
        raise placed(error, where, spec.name, component) from error
    except (TypeError, ValueError) as error:
        if (told := mistyped(component, spec.params, where, spec.name)) is not None:
            raise told from error
        raise UsageError(
            f"{where} '{spec.name}' cannot be built: {error}",
            hint=f"Take its defaults: --set '{where}={{name: {spec.name}}}'",
        ) from error
