"""What every pooling promises: an embedding from a sequence of any length, and rows that do not see one another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdbench.poolings.base import Pooling
from kdbench.testing import modules
from kdbench.testing.base import CheckSuite, Failed, Skipped, checks_in
from kdbench.testing.demands import (
    Named,
    demand_declared,
    demand_finite,
    demand_gradients,
    demand_same,
    difference,
    normal,
    untouched,
    weighted_sum,
)
from kdbench.text.wording import counted

WIDTH, SAMPLES, LENGTH = 12, 3, 8
LENGTHS = (1, 2, LENGTH)
ORDER = (3, 0, 6, 1, 7, 5, 2, 4)


class PoolingCase(modules.ModuleCase):
    """One pooling with its parameters; arguments as of `ModuleCase`."""

    def made(self, seed: int = 0, width: int = WIDTH) -> Pooling:
        """A new instance for tokens of a width, off its initial state."""
        pooling: Pooling = modules.moved_off(self.build(width, seed=seed))
        return pooling

    def input(self, samples: int = SAMPLES, length: int = LENGTH, width: int = WIDTH) -> Tensor:
        """A batch of sequences of tokens."""
        return normal(samples, length, width).to(self.device)

    def outputs(self, module: Any, inputs: Any) -> Named:
        """The embedding."""
        return {"the embedding": module(inputs)}


def makes_an_embedding_of_any_length(case: PoolingCase) -> None:
    """Of 1, 2 and 8 tokens it makes an embedding of the declared width, of one row and of several, in any mode."""
    for training in (False, True):
        for length in LENGTHS:
            for samples in (1, SAMPLES):
                pooling, x = case.module().train(training), case.input(samples, length)
                words = f"for {counted(length, 'token')} of {counted(samples, 'row')}" + ", in training" * training
                with torch.no_grad():
                    outputs = case.outputs(pooling, x)
                shape = tuple(outputs["the embedding"].shape)
                if shape != (samples, pooling.out_width):
                    raise Failed(f"the embedding is {shape} {words}, expected ({samples}, {pooling.out_width})")
                demand_finite(outputs, words)


def takes_other_widths(case: PoolingCase) -> None:
    """It can be built for tokens of any width, as encoders differ."""
    for width in (5, 32):
        pooling, x = case.made(width=width).eval(), case.input(width=width)
        with torch.no_grad():
            outputs = case.outputs(pooling, x)
        if outputs["the embedding"].shape[1] != pooling.out_width:
            raise Failed(f"of tokens of {width} it makes an embedding of another width than out_width")
        demand_finite(outputs, f"for tokens of {width}")


def gradient_reaches_every_token(case: PoolingCase) -> None:
    """A gradient comes back to every token of every row, in training and in eval mode."""
    for training in (True, False):
        for length in LENGTHS:
            pooling, x = case.module().train(training), case.input(length=length).requires_grad_()
            (gradient,) = torch.autograd.grad(weighted_sum(case.outputs(pooling, x)), x, allow_unused=True)
            reached = torch.zeros(SAMPLES, length) if gradient is None else gradient.abs().sum(2)
            if lost := [str(token + 1) for token in range(length) if not reached[:, token].all()]:
                mode = "training" if training else "eval mode"
                raise Failed(f"no gradient reaches token {', '.join(lost)} of {length} in {mode}")


def gradient_reaches_every_parameter(case: PoolingCase) -> None:
    """A gradient comes back to every parameter."""
    pooling = case.module().train()
    demand_gradients(pooling, weighted_sum(case.outputs(pooling, case.input())))


def sees_the_order_as_declared(case: PoolingCase) -> None:
    """The tokens in another order give another embedding if, and only if, it declares `sees_order = True`."""
    pooling, x = case.module(), case.input()
    with torch.no_grad():
        differing = difference(case.outputs(pooling, x), case.outputs(pooling, x[:, list(ORDER)]))
    declares = f"it declares sees_order = {pooling.sees_order}, and with the tokens in another order"
    if differing and not pooling.sees_order:
        raise Failed(f"{declares} {differing}")
    if pooling.sees_order and not differing:
        raise Failed(f"{declares} nothing changes")


def rows_are_independent_in_eval(case: PoolingCase) -> None:
    """In eval mode a row does not depend on the rest of its batch."""
    if differing := case.difference_when_split(case.module(), case.input()):
        raise Failed(f"in eval mode {differing} when the batch is split")


def normalises_as_declared(case: PoolingCase) -> None:
    """In training, a row depends on the rest of its batch if, and only if, it declares `normalisation = "batch"`."""
    pooling, x = case.module(), case.input()
    if pooling.normalisation not in ("batch", "sample"):
        raise Failed(f"it declares normalisation = {pooling.normalisation!r}, expected 'batch' or 'sample'")
    case.demand_steady(pooling, x)
    declares = f"normalisation = {pooling.normalisation!r}"
    demand_declared(declares, pooling.normalisation == "batch", case.difference_when_split(pooling, x))


def train_and_eval_agree(case: PoolingCase) -> None:
    """Where it normalises each sample on its own and draws nothing, training mode changes nothing."""
    pooling, x = case.module(), case.input()
    if pooling.normalisation != "sample":
        raise Skipped("it normalises over the batch")
    case.demand_steady(pooling, x)
    with torch.no_grad():
        both = case.outputs(pooling.eval(), x), case.outputs(pooling.train(), x)
    demand_same(*both, "it declares normalisation = 'sample', and between eval and training mode")


def survives_bf16_autocast(case: PoolingCase) -> None:
    """Inside bf16 autocast the embedding and its gradients are finite, also where tokens are large."""
    for scale in (1.0, 100.0):
        pooling, x = case.module().train(), (scale * case.input()).requires_grad_()
        with torch.autocast(case.device.type, torch.bfloat16):
            outputs = case.outputs(pooling, x)
        demand_finite(outputs, f"inside autocast, scaled by {scale:g}")
        (gradient,) = torch.autograd.grad(weighted_sum(outputs), x)
        demand_finite({"the gradient on the tokens": gradient}, f"inside autocast, scaled by {scale:g}")


def inputs_stay_as_they_are(case: PoolingCase) -> None:
    """The tokens are not changed in place."""
    for training in (False, True):
        x = case.input()
        with torch.no_grad(), untouched(("its input", x)):
            case.module().train(training)(x)


SUITE = CheckSuite(
    PoolingCase, gates=(makes_an_embedding_of_any_length,), checks=(*checks_in(__name__), *modules.CHECKS)
)
