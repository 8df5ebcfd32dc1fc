"""What every encoder promises: four stages as declared, driven one by one or at once."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kdbench.encoders.base import Encoder
from kdbench.registry import part_of
from kdbench.testing import modules
from kdbench.testing.base import Failed, Skipped, Suite
from kdbench.testing.modules import Named
from kdbench.text.wording import counted

SIDE = 64
INPUTS = {"series": (3, SIDE), "image": (3, SIDE, SIDE), "clip": (3, 8, SIDE, SIDE)}
"""Channels and grid of what encoders take."""
SAMPLES = 3


class EncoderCase:
    """One encoder with its parameters.

    Args:
        name: Its registered name.
        component: The class.
        params: Keyword parameters, as in a recipe; without dropout and from random weights by default.
        device: Where to check.
    """

    def __init__(
        self, name: str, component: Any, *, params: Mapping[str, Any] | None = None, device: str = "cpu"
    ) -> None:
        self.name = name
        self.component = component
        self.eats: str = part_of(component).declares["eats"]
        if self.eats not in INPUTS:
            raise Failed(f"it declares eats={self.eats!r}, expected one of {', '.join(INPUTS)}")
        self.params = modules.settled(component, params or {}, image_size=SIDE)
        self.device = torch.device(device)
        self.build()

    @functools.cached_property
    def _first(self) -> Encoder:
        return self._made(INPUTS[self.eats][0], 0)

    def _made(self, channels: int, seed: int) -> Encoder:
        return modules.build(self.component, (channels,), self.params, seed).to(self.device)

    def build(self, *, seed: int = 0, channels: int | None = None) -> Encoder:
        """A new instance, in eval mode."""
        usual = seed == 0 and channels is None
        made = copy.deepcopy(self._first) if usual else self._made(channels or INPUTS[self.eats][0], seed)
        return made.eval()

    def input(self, samples: int = SAMPLES, *, seed: int = 0, channels: int | None = None) -> Tensor:
        """A batch of what it eats."""
        first, *grid = INPUTS[self.eats]
        side = self.params.get("image_size")
        grid = [side if side and self.eats == "image" else size for size in grid]
        return modules.normal(samples, channels or first, *grid, seed=seed).to(self.device)


def has_four_stages(case: EncoderCase) -> None:
    """Four maps with the declared channels on grids that shrink, and an embedding of the declared width."""
    encoder, x = case.build(), case.input()
    with torch.no_grad():
        maps, embedding = encoder(x)
    if len(maps) != 4 or len(encoder.channels) != 4:
        raise Failed(
            f"it gives {counted(len(maps), 'map')} and declares "
            f"{counted(len(encoder.channels), 'channel count')}, expected 4"
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
    modules.demand_finite(_named(maps, embedding), "on an ordinary input")


def stages_agree_with_forward(case: EncoderCase) -> None:
    """Driven as stem, stages and pool it gives what forward gives."""
    encoder, x = case.build(), case.input()
    with torch.no_grad():
        if not modules.equal(_driven(encoder, x), _outputs(encoder, x)):
            raise Failed("stem, stage 0 to 3 and pool give another output than forward")


def statistics_are_valid(case: EncoderCase) -> None:
    """The statistics of its input are known before construction: finite means, positive deviations."""
    mean, std = case.component.statistics
    if not mean or not std or not all(torch.tensor([*mean, *std], dtype=torch.float64).isfinite()) or min(std) <= 0:
        raise Failed(f"its statistics are {(mean, std)}, expected finite means and positive standard deviations")


def gradient_reaches_every_parameter(case: EncoderCase) -> None:
    """A gradient comes back to the input and to every parameter."""
    encoder, x = case.build().train(), case.input().requires_grad_()
    total = modules.weighted_sum(_outputs(encoder, x))
    modules.demand_gradients(encoder, total)
    if not torch.autograd.grad(total, x)[0].any():
        raise Failed("no gradient reaches the input")


def prediction_depends_on_every_stage(case: EncoderCase) -> None:
    """The embedding depends on all four maps: on others a loss would train, and Grad-CAM show, what nothing reads."""
    x = case.input(2)
    # Branches may be closed until training opens them.
    opened: Any = modules.moved_off(case.build())
    missed = set(case.build().unread(x)) & set(opened.unread(x))
    if missed:
        raise Failed(
            f"the embedding does not depend on the map of stage {' and '.join(map(str, sorted(missed)))}: the gradient "
            "on it is zero. Where a class token is read, end the last stage before the last block, and run that block "
            "in pool"
        )


def takes_other_channels(case: EncoderCase) -> None:
    """It can be built for any number of input channels, as representations and data sets differ."""
    for channels in (1, 6):
        encoder, x = case.build(channels=channels), case.input(2, channels=channels)
        with torch.no_grad():
            modules.demand_finite(_outputs(encoder, x), f"with {counted(channels, 'channel')}")


def takes_a_batch_of_one(case: EncoderCase) -> None:
    """The last batch of an epoch may hold one trial."""
    encoder, x = case.build(), case.input(1)
    with torch.no_grad():
        modules.demand_finite(_outputs(encoder, x), "on a batch of one")
        modules.demand_finite(_outputs(encoder.train(), x), "on a batch of one, in training")


def train_and_eval_agree(case: EncoderCase) -> None:
    """Where it normalises each sample on its own and drops nothing, training mode changes nothing."""
    encoder, x = case.build(), case.input()
    if encoder.normalisation != "sample":
        raise Skipped("it normalises over the batch")
    _demand_steady(encoder, x)
    with torch.no_grad():
        differing = modules.difference(_outputs(encoder.eval(), x), _outputs(encoder.train(), x))
    if differing:
        raise Failed(f"it declares normalisation = 'sample', and between eval and training mode {differing}")


def normalises_as_declared(case: EncoderCase) -> None:
    """In training, a row depends on the rest of its batch if, and only if, it declares `normalisation = "batch"`."""
    encoder, x = case.build().train(), case.input()
    if encoder.normalisation not in ("batch", "sample"):
        raise Failed(f"it declares normalisation = {encoder.normalisation!r}, expected 'batch' or 'sample'")
    _demand_steady(encoder, x)
    with torch.no_grad():
        together, alone = _outputs(encoder, x), _outputs(encoder, x[:2])
    differing = modules.difference(modules.rows(together, slice(2)), alone)
    if differing and encoder.normalisation == "sample":
        raise Failed(f"it declares normalisation = 'sample', and when the batch is split {differing}")
    if not differing and encoder.normalisation == "batch":
        raise Failed("it declares normalisation = 'batch', and splitting the batch changes nothing")


def rows_are_independent_in_eval(case: EncoderCase) -> None:
    """In eval mode a row does not depend on the rest of its batch."""
    encoder, x = case.build(), case.input()
    with torch.no_grad():
        differing = modules.difference(modules.rows(_outputs(encoder, x), slice(2)), _outputs(encoder, x[:2]))
    if differing:
        raise Failed(f"in eval mode {differing} when the batch is split")


def is_deterministic(case: EncoderCase) -> None:
    """In eval mode the same input gives the same output, and nothing random is drawn."""
    encoder, x = case.build(), case.input()
    with torch.no_grad():
        modules.demand_deterministic(lambda: _outputs(encoder, x), "in eval mode")


def state_round_trips(case: EncoderCase) -> None:
    """A new instance with its saved state gives the same output."""
    encoder, x = case.build(), case.input()
    with torch.no_grad():
        encoder.train()(x)
        modules.demand_round_trip(encoder.eval(), case.build(seed=1), lambda module: _outputs(module, x))


def inputs_stay_as_they_are(case: EncoderCase) -> None:
    """The input is not changed in place, nor is a map that others hold."""
    encoder, x = case.build(), case.input()
    with torch.no_grad():
        modules.demand_untouched([x], lambda: encoder.stem(x))
        held = encoder.stem(x)
        for index in range(4):
            following: list[Tensor] = []
            given = held
            modules.demand_untouched([given], lambda: following.append(encoder.stage(index, given)))  # noqa: B023
            held = following[0]
        modules.demand_untouched([held], lambda: encoder.pool(held))


def never_waits_for_the_device(case: EncoderCase) -> None:
    """No value is read on the host, on which a GPU would have to be waited for."""
    encoder, x = case.build().train(), case.input()
    modules.demand_no_reads(lambda: _outputs(encoder, x))


SUITE = Suite(
    EncoderCase,
    gates=(has_four_stages,),
    checks=(
        stages_agree_with_forward,
        statistics_are_valid,
        gradient_reaches_every_parameter,
        prediction_depends_on_every_stage,
        takes_other_channels,
        takes_a_batch_of_one,
        train_and_eval_agree,
        normalises_as_declared,
        rows_are_independent_in_eval,
        is_deterministic,
        state_round_trips,
        inputs_stay_as_they_are,
        never_waits_for_the_device,
    ),
)


def _outputs(encoder: Any, x: Tensor) -> Named:
    return _named(*encoder(x))


def _driven(encoder: Encoder, x: Tensor) -> Named:
    maps, held = [], encoder.stem(x)
    for index in range(4):
        held = encoder.stage(index, held)
        maps.append(held)
    return _named(tuple(maps), encoder.pool(held))


def _named(maps: tuple[Tensor, ...], embedding: Tensor) -> Named:
    return {f"the map of stage {number}": x for number, x in enumerate(maps, start=1)} | {"the embedding": embedding}


def _demand_steady(encoder: Encoder, x: Tensor) -> None:
    """Skips a check in training mode that randomness would disturb.

    Raises:
        Skipped: It is random in training.
    """
    encoder.train()
    with torch.no_grad():
        if not modules.equal(_outputs(encoder, x), _outputs(encoder, x)):
            raise Skipped("it is random in training, though every parameter named drop… is 0")
