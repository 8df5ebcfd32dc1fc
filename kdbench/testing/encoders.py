"""What every encoder promises: its stages as declared, driven one by one or at once, and tokens over time."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import torch
from torch import Tensor

from kdbench.encoders.base import Encoder, unread
from kdbench.fusions.base import STAGES
from kdbench.registry import part_of
from kdbench.testing import modules
from kdbench.testing.base import CheckSuite, Failed, Skipped, checks_in
from kdbench.testing.demands import (
    Named,
    demand_declared,
    demand_finite,
    demand_gradients,
    demand_same,
    equal,
    normal,
    untouched,
    weighted_sum,
)
from kdbench.text.wording import counted

SIDE = 64
INPUTS = {"series": (3, SIDE), "image": (3, SIDE, SIDE), "clip": (3, 8, SIDE, SIDE)}
"""Channels and grid of what encoders take."""
SAMPLES = 3


class EncoderCase(modules.ModuleCase):
    """One encoder with its parameters; arguments as of `ModuleCase`."""

    image_size = SIDE

    @functools.cached_property
    def eats(self) -> str:
        """What it declares that it takes."""
        eats: str = part_of(self.component).declares["eats"]
        if eats not in INPUTS:
            raise Failed(f"it declares eats={eats!r}, expected one of {', '.join(INPUTS)}")
        return eats

    def made(self, seed: int = 0, channels: int | None = None) -> Encoder:
        """A new instance for other channels or from another seed."""
        encoder: Encoder = self.build(channels or INPUTS[self.eats][0], seed=seed)
        return encoder

    def input(self, samples: int = SAMPLES, channels: int | None = None) -> Tensor:
        """A batch of what it eats."""
        first, *grid = INPUTS[self.eats]
        side = self.params.get("image_size")
        grid = [side if side and self.eats == "image" else size for size in grid]
        return normal(samples, channels or first, *grid).to(self.device)

    def outputs(self, module: Any, inputs: Any) -> Named:
        """The maps and the embedding."""
        return _named(*module(inputs))


def has_the_declared_stages(case: EncoderCase) -> None:
    """One to four maps with the declared channels on grids that shrink, and an embedding of the declared width."""
    encoder, x = case.module(), case.input()
    with torch.no_grad():
        maps, embedding = encoder(x)
    if len(maps) != len(encoder.channels) or not 1 <= len(maps) <= STAGES:
        raise Failed(
            f"it gives {counted(len(maps), 'map')} and declares {counted(len(encoder.channels), 'channel count')}, "
            f"expected as many, and no more than {STAGES}"
        )
    axes = x.dim() - 2
    for number, (feature, channels) in enumerate(zip(maps, encoder.channels, strict=True), start=1):
        if feature.dim() != x.dim() or tuple(feature.shape[:2]) != (len(x), channels):
            raise Failed(
                f"the map of stage {number} is {tuple(feature.shape)}, expected ({len(x)}, {channels}) and "
                f"{counted(axes, 'axis', 'axes')}"
            )
    grids = [tuple(feature.shape[2:]) for feature in maps]
    if encoder.isotropic and len(set(grids)) > 1:
        raise Failed(f"it declares one grid for all stages and gives {', '.join(map(str, grids))}")
    for before, after in () if encoder.isotropic else itertools.pairwise(grids):
        if any(b > a for a, b in zip(before, after, strict=True)) or before == after:
            raise Failed(f"the grids are {', '.join(map(str, grids))}, expected each stage to shrink the one before")
    if tuple(embedding.shape) != (len(x), encoder.width):
        raise Failed(f"the embedding is {tuple(embedding.shape)}, expected ({len(x)}, {encoder.width})")
    demand_finite(_named(maps, embedding), "on an ordinary input")


def stages_agree_with_forward(case: EncoderCase) -> None:
    """Driven as stem, stages and pool it gives what forward gives."""
    encoder, x = case.module(), case.input()
    with torch.no_grad():
        maps = _driven(encoder, x)
        if not equal(_named(maps, encoder.pool(maps[-1])), case.outputs(encoder, x)):
            raise Failed(f"stem, stage 0 to {len(maps) - 1} and pool give another output than forward")


def gives_tokens_over_time(case: EncoderCase) -> None:
    """The last map as a sequence `(B, S, token_width)`, each row by itself, that depends on the map."""
    encoder, x = case.module(), case.input()
    last = _driven(encoder, x)[-1].detach().requires_grad_()
    tokens = encoder.tokens(last)
    if tokens.dim() != 3 or len(tokens) != len(x) or tokens.shape[2] != encoder.token_width:
        raise Failed(f"the tokens are {tuple(tokens.shape)}, expected ({len(x)}, S, {encoder.token_width})")
    demand_finite({"a token": tokens}, "on an ordinary input")
    if unread(tokens, [last]):
        raise Failed("the tokens do not depend on the last map: the gradient on it is zero")
    with torch.no_grad():
        alone = encoder.tokens(_driven(encoder, x[:1])[-1])
    demand_same({"a token": tokens[:1]}, {"a token": alone}, "when the batch is split")


def statistics_are_valid(case: EncoderCase) -> None:
    """The statistics of its input are known before construction: finite means, positive deviations."""
    mean, std = case.component.statistics
    if not mean or not std or not all(torch.tensor([*mean, *std], dtype=torch.float64).isfinite()) or min(std) <= 0:
        raise Failed(f"its statistics are {(mean, std)}, expected finite means and positive standard deviations")


def gradient_reaches_every_parameter(case: EncoderCase) -> None:
    """A gradient comes back to the input and to every parameter."""
    encoder, x = case.module().train(), case.input().requires_grad_()
    total = weighted_sum(case.outputs(encoder, x))
    demand_gradients(encoder, total)
    if not torch.autograd.grad(total, x)[0].any():
        raise Failed("no gradient reaches the input")


def prediction_depends_on_every_stage(case: EncoderCase) -> None:
    """The embedding depends on all maps: on others a loss would train, and Grad-CAM show, what nothing reads."""
    x = case.input(2)
    # Branches may be closed until training opens them.
    opened: Any = modules.moved_off(case.module())
    missed = set(case.module().unread(x)) & set(opened.unread(x))
    if missed:
        raise Failed(
            f"the embedding does not depend on the map of stage {' and '.join(map(str, sorted(missed)))}: the gradient "
            "on it is zero. Where a class token is read, end the last stage before the last block, and run that block "
            "in pool"
        )


def takes_other_channels(case: EncoderCase) -> None:
    """It can be built for any number of input channels, as representations and data sets differ."""
    for channels in (1, 6):
        encoder, x = case.made(channels=channels).eval(), case.input(2, channels)
        with torch.no_grad():
            demand_finite(case.outputs(encoder, x), f"with {counted(channels, 'channel')}")


def takes_a_batch_of_one(case: EncoderCase) -> None:
    """The last batch of an epoch may hold one trial."""
    encoder, x = case.module(), case.input(1)
    with torch.no_grad():
        demand_finite(case.outputs(encoder, x), "on a batch of one")
        demand_finite(case.outputs(encoder.train(), x), "on a batch of one, in training")


def train_and_eval_agree(case: EncoderCase) -> None:
    """Where it normalises each sample on its own and drops nothing, training mode changes nothing."""
    encoder, x = case.module(), case.input()
    if encoder.normalisation != "sample":
        raise Skipped("it normalises over the batch")
    case.demand_steady(encoder, x)
    with torch.no_grad():
        both = case.outputs(encoder.eval(), x), case.outputs(encoder.train(), x)
    demand_same(*both, "it declares normalisation = 'sample', and between eval and training mode")


def normalises_as_declared(case: EncoderCase) -> None:
    """In training, a row depends on the rest of its batch if, and only if, it declares `normalisation = "batch"`."""
    encoder, x = case.module(), case.input()
    if encoder.normalisation not in ("batch", "sample"):
        raise Failed(f"it declares normalisation = {encoder.normalisation!r}, expected 'batch' or 'sample'")
    case.demand_steady(encoder, x)
    declares = f"normalisation = {encoder.normalisation!r}"
    demand_declared(declares, encoder.normalisation == "batch", case.difference_when_split(encoder, x))


def rows_are_independent_in_eval(case: EncoderCase) -> None:
    """In eval mode a row does not depend on the rest of its batch."""
    if differing := case.difference_when_split(case.module(), case.input()):
        raise Failed(f"in eval mode {differing} when the batch is split")


def inputs_stay_as_they_are(case: EncoderCase) -> None:
    """The input is not changed in place, nor is a map that others hold."""
    encoder, x = case.module(), case.input()
    stages = [functools.partial(encoder.stage, stage) for stage in range(len(encoder.channels))]
    with torch.no_grad():
        with untouched(("the last map", last := _driven(encoder, x)[-1])):
            encoder.tokens(last)
        for step in (encoder.stem, *stages, encoder.pool):
            with untouched(("its input", x)):
                following = step(x)
            x = following


SUITE = CheckSuite(EncoderCase, gates=(has_the_declared_stages,), checks=(*checks_in(__name__), *modules.CHECKS))


def _driven(encoder: Encoder, x: Tensor) -> tuple[Tensor, ...]:
    """The maps of the stages, run one by one."""
    stages = range(len(encoder.channels))
    _, *maps = itertools.accumulate(stages, lambda x, stage: encoder.stage(stage, x), initial=encoder.stem(x))
    return tuple(maps)


def _named(maps: tuple[Tensor, ...], embedding: Tensor) -> Named:
    return {f"the map of stage {number}": x for number, x in enumerate(maps, start=1)} | {"the embedding": embedding}
