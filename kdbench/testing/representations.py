"""What every representation promises: the declared shape, row by row, and nothing learnt but in `fit`."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.layers.series import AXES_OF_A_JOINT
from kdbench.registry import part_of
from kdbench.representations.base import Representation
from kdbench.testing import modules
from kdbench.testing.base import CheckSuite, Failed, Skipped, checks_in
from kdbench.testing.demands import Named, demand_finite, demand_same, equal, normal, untouched
from kdbench.text.wording import counted
from kdbench.types import SENSORS, VIDEO

AXES = {"series": 1, "image": 2, "clip": 3}
SAMPLES, LENGTH, FRAMES, SIDE, JOINTS = 4, 64, 6, 32, 4
STATISTICS = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
"""As of an encoder that was pretrained on colour images."""


class RepresentationCase(modules.ModuleCase):
    """One representation with its parameters; arguments as of `ModuleCase`."""

    image_size = SIDE
    steady = ("training", "eval mode")

    @functools.cached_property
    def modality(self) -> str:
        """What it declares that it represents."""
        modality: str = part_of(self.component).declares["modality"]
        if modality not in (SENSORS, VIDEO):
            raise Failed(f"it declares modality={modality!r}, expected {SENSORS} or {VIDEO}")
        return modality

    @property
    def channels(self) -> int:
        """Channels of the raw input: three axes, those of a few joints, or one of depth."""
        if self.takes_a_skeleton:
            return JOINTS * AXES_OF_A_JOINT
        return 3 if self.modality == SENSORS else 1

    @property
    def other_channels(self) -> tuple[int, ...]:
        """Other numbers of channels that a data set may have; of a skeleton, other joints."""
        if self.takes_a_skeleton:
            return tuple(joints * AXES_OF_A_JOINT for joints in (2, 7))
        return (1, 3) if self.modality == VIDEO else (1, 2, 6)

    def unfitted(self, channels: int | None = None, statistics: Any = STATISTICS) -> Representation:
        """A new instance that has learnt nothing yet."""
        channels = channels or self.channels
        given: dict[str, Any] = {"statistics": statistics}
        if self.takes_a_skeleton:
            given["skeleton"] = modules.chain_of_joints(channels // AXES_OF_A_JOINT)
        unfitted: Representation = self.build(channels, **given)
        return unfitted

    def made(self, seed: int = 0) -> Representation:  # noqa: ARG002
        """An instance that has learnt from a training part."""
        made = self.unfitted()
        made.fit(self.input(12, seed=5))
        return made

    def other(self) -> Representation:
        """See the base class."""
        return self.unfitted()

    def input(self, samples: int = SAMPLES, *, seed: int = 0, channels: int | None = None) -> Tensor:
        """Raw input: random walks of sensors, or frames of video in uint8."""
        if self.modality == SENSORS:
            return normal(samples, channels or self.channels, LENGTH, seed=seed).cumsum(-1).to(self.device)
        shape = (samples, channels or self.channels, FRAMES, SIDE, SIDE)
        frames = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))
        return frames.to(self.device, torch.uint8)

    def outputs(self, module: Any, inputs: Any) -> Named:
        """The output, of a copy of the input and in memory of its own."""
        return {"the output": module(inputs.clone()).clone()}


def makes_what_it_declares(case: RepresentationCase) -> None:
    """The output has the rank of what it `makes`, `out_channels` channels, and finite floating-point values."""
    made, x = case.module(), case.input()
    if made.makes not in AXES:
        raise Failed(f"it declares makes = {made.makes!r}, expected one of {', '.join(AXES)}")
    out = made(x)
    if out.dim() != 2 + AXES[made.makes] or len(out) != len(x):
        raise Failed(f"the output is {tuple(out.shape)} for {tuple(x.shape)}; a batch of {made.makes} was declared")
    if out.shape[1] != made.out_channels:
        raise Failed(f"the output has {counted(out.shape[1], 'channel')}, and out_channels is {made.out_channels}")
    if not out.is_floating_point():
        raise Failed(f"the output is {out.dtype}, expected floating point")
    demand_finite({"the output": out}, "on ordinary input")


def rows_are_independent(case: RepresentationCase) -> None:
    """A row does not depend on the rest of its batch: all at once is one by one."""
    made, x = case.module(), case.input()
    for training in (True, False):
        made.train(training)
        alone = torch.cat([made(x[row : row + 1]).clone() for row in range(len(x))])
        demand_same(case.outputs(made, x), {"the output": alone}, "when the rows come one by one")


def padding_has_no_influence(case: RepresentationCase) -> None:
    """Where it takes series at their native lengths, longer ones beside a series do not change a bit of its output."""
    if not case.component.takes_native(case.params):
        raise Skipped("it takes series of one length")
    made, x = case.module(), case.input()
    short, end = x[:1, :, : LENGTH // 2], x.clone()
    end[0, :, LENGTH // 2 :] = torch.nan
    demand_finite(case.outputs(made, end), "where shorter series end in NaN")
    if not torch.equal(made(short), made(end)[:1]):
        raise Failed("what it makes of a series depends on how long the longest of its batch is")


def survives_constant_input(case: RepresentationCase) -> None:
    """A sensor that does not move, or a black clip, gives finite values; so does fitting on it."""
    x = case.input()
    for words, still in (("constant", torch.ones_like(x)), ("zero", torch.zeros_like(x))):
        demand_finite(case.outputs(case.module(), still), f"on {words} input")
        made = case.unfitted()
        made.fit(still)
        demand_finite(case.outputs(made, still), f"on {words} input, after learning from it")
    if case.modality == SENSORS:
        mixed = x.clone()
        mixed[:, 0] = 3
        demand_finite(case.outputs(case.module(), mixed), "where one axis is constant")


def learns_in_fit_alone(case: RepresentationCase) -> None:
    """What it learns comes from the training part, through `fit`: using it changes nothing."""
    made, x = case.module().train(), case.input()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    first = case.outputs(made, x)
    made(100 * x if case.modality == SENSORS else 255 - x)
    changed = [name for name, value in made.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        raise Failed(f"a call changes what it has learnt ({', '.join(changed)}): test data would enter it")
    if not equal(first, case.outputs(made, x)):
        raise Failed("the output for one batch depends on the batches before it")


def takes_other_channels(case: RepresentationCase) -> None:
    """Sensors have any number of axes or joints, and frames one channel or three; encoders one statistic or three.

    What is made for depth may refuse frames of three channels, by a `UsageError` with the next step.
    """
    for channels in case.other_channels:
        for statistics in (STATISTICS, ((0.5,), (0.25,))):
            try:
                made = case.unfitted(channels, statistics)
            except UsageError as error:
                if case.modality == VIDEO and channels > 1 and error.hint:
                    continue
                raise
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
    made, x = case.module(), case.input()
    shares = case.outputs(made, x.float() / 255)
    demand_same(case.outputs(made, x), shares, "for frames in uint8 and as floats in [0, 1]")


def inputs_stay_as_they_are(case: RepresentationCase) -> None:
    """The raw input is not changed in place."""
    made, x = case.module(), case.input()
    with untouched(("its input", x)):
        made(x)
        case.unfitted().fit(x)


def stays_on_the_device(case: RepresentationCase) -> None:
    """The output is on the device of the input, and no value is read on the host."""
    made, x = case.module(), case.input()
    if made(x).device != x.device:
        raise Failed(f"the output is on {made(x).device}, the input on {x.device}")
    modules.never_waits_for_the_device(case)


SUITE = CheckSuite(
    RepresentationCase,
    gates=(makes_what_it_declares,),
    checks=(
        *checks_in(__name__),
        modules.is_deterministic,
        modules.state_round_trips,
        modules.is_the_same_on_a_gpu,
    ),
)
