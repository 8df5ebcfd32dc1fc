"""Poolings with one error each, and the checks that each of them must fail."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdbench import Pooling, pooling
from kdbench.poolings.mean import Mean

BROKEN: list[tuple[Any, set[str]]] = []
"""A component, and the names of the checks that it fails."""


def fails(*checks: str) -> Any:
    def add(component: Any) -> Any:
        BROKEN.append((component, set(checks)))
        return component

    return add


@fails("makes_an_embedding_of_any_length")
@pooling("says_another_width")
class SaysAnotherWidth(Mean):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.out_width = 2 * width


@fails("makes_an_embedding_of_any_length")
@pooling("wants_eight")
class WantsEight(Pooling):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.linear = nn.Linear(8 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(tokens.flatten(1))


@fails("makes_an_embedding_of_any_length")
@pooling("wants_rows")
class WantsRows(Mean):
    normalisation = "batch"

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(super().forward(tokens))


@fails("takes_other_widths")
@pooling("dozens_only")
class DozensOnly(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens * tokens.new_ones(12))


@fails("gradient_reaches_every_token")
@pooling("takes_the_last")
class TakesTheLast(Pooling):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, -1]


@fails("gradient_reaches_every_parameter")
@pooling("idle_layer")
class IdleLayer(Mean):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.idle = nn.Linear(2, 2)


@fails("sees_the_order_as_declared")
@pooling("boasts_of_order")
class BoastsOfOrder(Mean):
    sees_order = True


@fails("sees_the_order_as_declared")
@pooling("hides_its_order")
class HidesItsOrder(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        weights = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        return (weights[:, None] * tokens).mean(1)


@fails("rows_are_independent_in_eval")
@pooling("compares_rows")
class ComparesRows(Mean):
    normalisation = "batch"

    def forward(self, tokens: Tensor) -> Tensor:
        pooled = super().forward(tokens)
        return pooled - 0.5 * pooled.mean(0)


@fails("normalises_as_declared", "train_and_eval_agree")
@pooling("hides_its_norm")
class HidesItsNorm(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        pooled = super().forward(tokens)
        return pooled - 0.5 * pooled.mean(0) if self.training else pooled


@fails("normalises_as_declared")
@pooling("boasts_a_norm")
class BoastsANorm(Mean):
    normalisation = "batch"


@fails("train_and_eval_agree")
@pooling("louder_in_training")
class LouderInTraining(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * (2 if self.training else 1)


@fails("survives_bf16_autocast")
@pooling("cancels_in_bf16")
class CancelsInBf16(Mean):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.linear = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        linear = self.linear(super().forward(tokens))
        return linear + torch.log((linear + 1000) - 999.5 - linear)


@fails("inputs_stay_as_they_are")
@pooling("clips_in_place")
class ClipsInPlace(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        tokens.data.clamp_(min=0)
        return super().forward(tokens)


@fails("is_deterministic")
@pooling("draws_in_eval")
class DrawsInEval(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + 0 * torch.rand(())


@fails("state_round_trips")
@pooling("keeps_weights_to_itself")
class KeepsWeightsToItself(Mean):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.scale = torch.rand(width)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * self.scale


@fails("never_waits_for_the_device")
@pooling("reads_its_tokens")
class ReadsItsTokens(Mean):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens if tokens.isfinite().all() else torch.zeros_like(tokens))
