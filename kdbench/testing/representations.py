"""What every representation promises: the declared shape, row by row, and nothing learnt but in `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kdbench.registry import part_of
from kdbench.representations.base import Representation
from kdbench.testing import modules
from kdbench.testing.base import Failed, Skipped, Suite
from kdbench.text.wording import counted
from kdbench.types import SENSORS, VIDEO

AXES = {"series": 1, "image": 2, "clip": 3}
SAMPLES, LENGTH, FRAMES, SIDE = 4, 64, 6, 32
STATISTICS = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
"""As of an encoder that was pretrained on colour images."""


class RepresentationCase:
    """One representation with its parameters.

    Args:
        name: Its registered name.
        component: The class.
        params: Keyword parameters, as in a recipe; `image_size` is small by default.
        device: Where to check.
    """

    def __init__(
        self, name: str, component: Any, *, params: Mapping[str, Any] | None = None, device: str = "cpu"
    ) -> None:
        self.name = name
        self.component = component
        self.modality: str = part_of(component).declares["modality"]
        if self.modality not in (SENSORS, VIDEO):
            raise Failed(f"it declares modality={self.modality!r}, expected {SENSORS} or {VIDEO}")
        self.params = modules.settled(component, params or {}, image_size=SIDE)
        self.device = torch.device(device)
        self.build()

    @property
    def channels(self) -> int:
        """Channels of the raw input: three axes, or one of depth."""
        return 3 if self.modality == SENSORS else 1

    def build(self, channels: int | None = None, statistics: Any = STATISTICS) -> Representation:
        """A new instance that has learnt nothing yet."""
        params = {**self.params, "statistics": statistics}
        return modules.build(self.component, (channels or self.channels,), params).to(self.device)

    def fitted(self) -> Representation:
        """An instance that has learnt from a training part."""
        made = self.build()
        made.fit(self.input(12, seed=5))
        return made

    def input(self, samples: int = SAMPLES, *, seed: int = 0, channels: int | None = None) -> Tensor:
        """Raw input: random walks of sensors, or frames of video in uint8."""
        if self.modality == SENSORS:
            return modules.normal(samples, channels or self.channels, LENGTH, seed=seed).cumsum(-1).to(self.device)
        shape = (samples, channels or self.channels, FRAMES, SIDE, SIDE)
        frames = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))
        return frames.to(self.device, torch.uint8)


def makes_what_it_declares(case: RepresentationCase) -> None:
    """The output has the rank of what it `makes`, `out_channels` channels, and finite floating-point values."""
    made, x = case.fitted(), case.input()
    if made.makes not in AXES:
        raise Failed(f"it declares makes = {made.makes!r}, expected one of {', '.join(AXES)}")
    out = made(x)
    if out.dim() != 2 + AXES[made.makes] or len(out) != len(x):
        raise Failed(f"the output is {tuple(out.shape)} for {tuple(x.shape)}; a batch of {made.makes} was declared")
    if out.shape[1] != made.out_channels:
        raise Failed(f"the output has {counted(out.shape[1], 'channel')}, and out_channels is {made.out_channels}")
    if not out.is_floating_point():
        raise Failed(f"the output is {out.dtype}, expected floating point")
    modules.demand_finite({"the output": out}, "on ordinary input")


def rows_are_independent(case: RepresentationCase) -> None:
    """A row does not depend on the rest of its batch: all at once is one by one."""
    made, x = case.fitted(), case.input()
    for training in (True, False):
        made.train(training)
        together = made(x).clone()
        alone = torch.cat([made(x[row : row + 1]).clone() for row in range(len(x))])
        differing = modules.difference({"the output": together}, {"the output": alone})
        if differing:
            raise Failed(f"when the rows come one by one {differing}")


def survives_constant_input(case: RepresentationCase) -> None:
    """A sensor that does not move, or a black clip, gives finite values; so does fitting on it."""
    x = case.input()
    for words, still in (("constant", torch.ones_like(x)), ("zero", torch.zeros_like(x))):
        modules.demand_finite({"the output": case.fitted()(still)}, f"on {words} input")
        made = case.build()
        made.fit(still)
        modules.demand_finite({"the output": made(still)}, f"on {words} input, after learning from it")
    if case.modality == SENSORS:
        mixed = x.clone()
        mixed[:, 0] = 3
        modules.demand_finite({"the output": case.fitted()(mixed)}, "where one axis is constant")


def learns_in_fit_alone(case: RepresentationCase) -> None:
    """What it learns comes from the training part, through `fit`: using it changes nothing."""
    made, x = case.fitted().train(), case.input()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    first = made(x.clone()).clone()
    made(100 * x if case.modality == SENSORS else 255 - x)
    changed = [name for name, value in made.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        raise Failed(f"a call changes what it has learnt ({', '.join(changed)}): test data would enter it")
    if not torch.equal(first, made(x.clone())):
        raise Failed("the output for one batch depends on the batches before it")


def takes_other_channels(case: RepresentationCase) -> None:
    """Sensors may have any number of axes, and frames one channel or three; encoders one statistic or three."""
    for channels in (1, 3) if case.modality == VIDEO else (1, 2, 6):
        for statistics in (STATISTICS, ((0.5,), (0.25,))):
            made = case.build(channels, statistics)
            x = case.input(2, channels=channels)
            made.fit(x)
            out = made(x)
            if out.shape[1] != made.out_channels:
                raise Failed(
                    f"the output has {counted(out.shape[1], 'channel')} for {channels}, and out_channels is "
                    f"{made.out_channels}"
                )


def takes_both_kinds_of_frames(case: RepresentationCase) -> None:
    """Frames in uint8 and the same frames as floats in [0, 1] give the same."""
    if case.modality != VIDEO:
        raise Skipped("it represents sensors")
    made, x = case.fitted(), case.input()
    whole, share = made(x).clone(), made(x.float() / 255).clone()
    differing = modules.difference({"the output": whole}, {"the output": share})
    if differing:
        raise Failed(f"for frames in uint8 and as floats in [0, 1] {differing}")


def is_deterministic(case: RepresentationCase) -> None:
    """The same input gives the same output, and nothing random is drawn."""
    made, x = case.fitted(), case.input()
    modules.demand_deterministic(lambda: {"the output": made(x.clone()).clone()}, "in training")


def state_round_trips(case: RepresentationCase) -> None:
    """A new instance with its saved state, what it learnt included, gives the same output."""
    x = case.input()
    modules.demand_round_trip(case.fitted(), case.build(), lambda module: {"the output": module(x.clone()).clone()})


def inputs_stay_as_they_are(case: RepresentationCase) -> None:
    """The raw input is not changed in place."""
    made, x = case.fitted(), case.input()
    modules.demand_untouched([x], lambda: made(x))
    modules.demand_untouched([x], lambda: case.build().fit(x))


def stays_on_the_device(case: RepresentationCase) -> None:
    """The output is on the device of the input, and no value is read on the host."""
    made, x = case.fitted(), case.input()
    if made(x).device != x.device:
        raise Failed(f"the output is on {made(x).device}, the input on {x.device}")
    modules.demand_no_reads(lambda: {"the output": made(x)})


SUITE = Suite(
    RepresentationCase,
    gates=(makes_what_it_declares,),
    checks=(
        rows_are_independent,
        survives_constant_input,
        learns_in_fit_alone,
        takes_other_channels,
        takes_both_kinds_of_frames,
        is_deterministic,
        state_round_trips,
        inputs_stay_as_they_are,
        stays_on_the_device,
    ),
)
