"""What every fusion promises: for any number of sources, and truly declared where it couples the rows of a batch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kdbench.encoders.base import unread
from kdbench.encoders.conv import Conv1d
from kdbench.fusions.base import Fusion
from kdbench.network import Network
from kdbench.representations.raw import Raw
from kdbench.testing import modules
from kdbench.testing.base import Failed, Skipped, Suite
from kdbench.testing.modules import Named

CHANNELS, WIDTH = (4, 6, 8, 10), 10
SOURCES = (1, 2, 4)
GRIDS = {"series": ((16,), (8,), (4,), (2,)), "image": ((8, 8), (4, 4), (2, 2), (1, 1))}
SAMPLES, AXES, LENGTH, CLASSES, GROUPS = 6, 3, 64, 5, 3


class FusionCase:
    """One fusion with its parameters, alone and inside a network of small encoders.

    Args:
        name: Its registered name.
        component: The class.
        params: Keyword parameters, as in a recipe; without dropout by default.
        device: Where to check.
    """

    def __init__(
        self, name: str, component: Any, *, params: Mapping[str, Any] | None = None, device: str = "cpu"
    ) -> None:
        self.name = name
        self.component = component
        self.params = modules.settled(component, params or {})
        self.device = torch.device(device)
        self.build(2)

    def build(self, sources: int, *, seed: int = 0) -> Fusion:
        """A new instance."""
        return modules.build(self.component, (CHANNELS, sources, WIDTH), self.params, seed).to(self.device)

    def network(self, sources: int = 2, *, seed: int = 0) -> Network:
        """A network around the fusion, off its initial state, in eval mode and in float64; with heads for groups."""
        if seed:
            return self._network(sources, seed)
        return copy.deepcopy(self._kept(sources))

    @functools.cache  # noqa: B019
    def _kept(self, sources: int) -> Network:
        return self._network(sources, 0)

    def _network(self, sources: int, seed: int) -> Network:
        fusion = self.build(sources, seed=seed)
        torch.manual_seed(seed)
        names = [f"sensor_{number}" for number in range(sources)]
        network = Network(
            "sensors",
            {name: Raw(AXES, statistics=((0.5,), (0.5,))) for name in names},
            {name: Conv1d(AXES, widths=CHANNELS) for name in names},
            fusion,
            classes=CLASSES,
            semantic=None,
            groups=GROUPS,
        )
        modules.moved_off(network.fusion)
        return network.to(self.device).double().eval()

    def input(self, sources: int = 2, samples: int = SAMPLES, *, seed: int = 0) -> list[Tensor]:
        """A batch of series of each source."""
        drawn = [
            modules.normal(samples, AXES, LENGTH, seed=10 * seed + number, dtype=torch.float64)
            for number in range(sources)
        ]
        return [series.to(self.device) for series in drawn]


def takes_any_number_of_sources(case: FusionCase) -> None:
    """With one, two and four sources the maps keep their shapes, and what comes out is as declared."""
    for sources in SOURCES:
        fusion = case.build(sources).eval()
        for words, grids in GRIDS.items():
            with torch.no_grad():
                _demand_shapes(case, fusion, sources, grids, f"with {sources} {words} maps")
        with torch.no_grad():
            modules.demand_finite(_outputs(case.network(sources), case.input(sources)), f"with {sources} sources")


def _demand_shapes(
    case: FusionCase, fusion: Fusion, sources: int, grids: tuple[tuple[int, ...], ...], words: str
) -> None:
    stages: list[list[Tensor]] = []
    for stage, (channels, grid) in enumerate(zip(CHANNELS, grids, strict=True)):
        maps = [
            modules.normal(SAMPLES, channels, *grid, seed=10 * stage + number).to(case.device)
            for number in range(sources)
        ]
        fused = fusion.between(stage, list(maps)) if stage < 3 else fusion.last(list(maps))
        shapes, given = [tuple(x.shape) for x in fused], [tuple(x.shape) for x in maps]
        if shapes != given:
            raise Failed(f"after stage {stage + 1} it gives maps {shapes} for {given} {words}")
        stages.append(fused)
    embeddings = [x.flatten(2).mean(2) for x in stages[-1]]
    if not fusion.joint:
        if tuple(fusion.out_channels) != CHANNELS or fusion.out_width != WIDTH:
            raise Failed(
                f"it declares joint = False, out_channels = {tuple(fusion.out_channels)} and out_width = "
                f"{fusion.out_width}; separate branches keep {CHANNELS} and {WIDTH}"
            )
        return
    joined, embedding, *seen = fusion.after(list(zip(*stages, strict=True)), embeddings)
    widths = tuple(x.shape[1] for x in joined)
    if widths != tuple(fusion.out_channels):
        raise Failed(f"its joint maps have {widths} channels {words}, and it declares {tuple(fusion.out_channels)}")
    expected = [("embedding", embedding, fusion.out_width)]
    expected += [("feature for the groups", feature, fusion.auxiliary_width) for feature in seen]
    for name, feature, width in expected:
        if tuple(feature.shape) != (SAMPLES, width):
            raise Failed(f"its joint {name} is {tuple(feature.shape)} {words}, and it declares a width of {width}")


def gradient_reaches_every_source(case: FusionCase) -> None:
    """A gradient comes back to every source, and to every parameter of the fusion."""
    for sources in SOURCES[1:]:
        network, inputs = case.network(sources).train(), [x.requires_grad_() for x in case.input(sources)]
        found = _outputs(network, inputs)
        gradients = torch.autograd.grad(modules.weighted_sum(found), inputs, allow_unused=True, retain_graph=True)
        lost = [str(n) for n, gradient in enumerate(gradients, start=1) if gradient is None or not gradient.any()]
        if lost:
            raise Failed(f"no gradient reaches source {', '.join(lost)} of {sources}")
        modules.demand_gradients(network.fusion, modules.weighted_sum(found))


def prediction_depends_on_every_map(case: FusionCase) -> None:
    """The class scores depend on what it returns after each stage, for every source."""
    for sources in SOURCES:
        network, inputs = case.network(sources), case.input(sources)
        fusion = network.fusion
        fused: list[Tensor] = []

        def recorded(maps: list[Tensor], fused: list[Tensor] = fused) -> list[Tensor]:
            fused += maps
            return maps

        between, last = fusion.between, fusion.last
        fusion.between = lambda stage, maps: recorded(between(stage, maps))  # type: ignore[method-assign]  # noqa: B023
        fusion.last = lambda maps: recorded(last(maps))  # type: ignore[method-assign]  # noqa: B023
        logits = torch.stack([features.logits for features in network([x.requires_grad_() for x in inputs])])
        missed = unread(logits, fused)
        if missed:
            stage, source = divmod(missed[0] - 1, sources)
            raise Failed(
                f"the class scores do not depend on the map of source {source + 1} of {sources} that it returns after "
                f"stage {stage + 1}: the gradient on it is zero"
            )


def couples_the_batch_as_declared(case: FusionCase) -> None:
    """In eval mode a row depends on the rest of its batch if, and only if, it declares `couples_batch = True`."""
    differing = _difference_when_split(case, training=False)
    if differing and not case.network().fusion.couples_batch:
        raise Failed(
            f"it declares couples_batch = False, and when the batch is split {differing}: predictions would depend on "
            "their batch mates"
        )
    if not differing and case.network().fusion.couples_batch:
        raise Failed("it declares couples_batch = True, and splitting the batch changes nothing")


def normalises_as_declared(case: FusionCase) -> None:
    """In training, a row depends on the rest of its batch if, and only if, it declares `normalisation = "batch"`."""
    fusion = case.network().fusion
    if fusion.couples_batch:
        raise Skipped("it couples the batch in any mode")
    differing = _difference_when_split(case, training=True)
    if differing and fusion.normalisation != "batch":
        raise Failed(f"it declares normalisation = {fusion.normalisation!r}, and when the batch is split {differing}")
    if not differing and fusion.normalisation == "batch":
        raise Failed("it declares normalisation = 'batch', and splitting the batch changes nothing in training")


def follows_the_order_of_the_batch(case: FusionCase) -> None:
    """With the rows of the batch in another order, the rows of the output are in that order."""
    order = torch.tensor([4, 0, 5, 2, 1, 3], device=case.device)
    for sources in SOURCES:
        network, inputs = case.network(sources), case.input(sources)
        with torch.no_grad():
            ordered = modules.rows(_outputs(network, inputs), order)
            differing = modules.difference(ordered, _outputs(network, [x[order] for x in inputs]))
        if differing:
            raise Failed(f"with the rows of the batch in another order {differing}: a row's place in it matters")


def treats_equal_rows_as_declared(case: FusionCase) -> None:
    """Where it declares `constant_batch_invariant`, each of several equal rows gets what one alone would get."""
    for sources in SOURCES:
        network, one = case.network(sources), case.input(sources, 1)
        if not network.fusion.constant_batch_invariant:
            return
        with torch.no_grad():
            alone = _outputs(network, one)
            several = modules.rows(_outputs(network, [x.expand(SAMPLES, -1, -1) for x in one]), slice(1))
        differing = modules.difference(alone, several)
        if differing:
            raise Failed(f"it declares constant_batch_invariant = True, and in a batch of equal rows {differing}")


def takes_a_batch_of_one(case: FusionCase) -> None:
    """The last batch of an epoch may hold one trial, in eval mode and in training."""
    for sources in SOURCES:
        for training in (False, True):
            network, inputs = case.network(sources).train(training), case.input(sources, 1)
            found = _outputs(network, inputs)
            modules.demand_finite(found, "on a batch of one")
            modules.demand_gradients(network.fusion, modules.weighted_sum(found)) if sources > 1 else None


def survives_bf16_autocast(case: FusionCase) -> None:
    """Inside bf16 autocast the output is finite, also where features are large."""
    network = case.network().float()
    inputs = [x.float() for x in case.input()]
    for scale in (1.0, 100.0):
        with torch.no_grad(), torch.autocast(case.device.type, torch.bfloat16):
            modules.demand_finite(
                _outputs(network, [scale * x for x in inputs]), f"inside autocast, scaled by {scale:g}"
            )


def is_deterministic(case: FusionCase) -> None:
    """In eval mode the same input gives the same output, and nothing random is drawn."""
    network, inputs = case.network(), case.input()
    with torch.no_grad():
        modules.demand_deterministic(lambda: _outputs(network, inputs), "in eval mode")


def state_round_trips(case: FusionCase) -> None:
    """A new instance with its saved state gives the same output."""
    network, inputs = case.network(), case.input()
    with torch.no_grad():
        network.train()(inputs)
        modules.demand_round_trip(network.eval(), case.network(seed=1), lambda module: _outputs(module, inputs))


def inputs_stay_as_they_are(case: FusionCase) -> None:
    """The maps are not changed in place."""
    fusion = case.build(2).eval()
    for stage, channels in enumerate(CHANNELS):
        maps = [modules.normal(SAMPLES, channels, 4, seed=number).to(case.device) for number in range(2)]
        call = fusion.last if stage == 3 else functools.partial(fusion.between, stage)
        with torch.no_grad():
            modules.demand_untouched(maps, functools.partial(call, list(maps)))


def never_waits_for_the_device(case: FusionCase) -> None:
    """No value is read on the host, on which a GPU would have to be waited for."""
    network, inputs = case.network().train(), case.input()
    modules.demand_no_reads(lambda: _outputs(network, inputs))


SUITE = Suite(
    FusionCase,
    gates=(takes_any_number_of_sources,),
    checks=(
        gradient_reaches_every_source,
        prediction_depends_on_every_map,
        couples_the_batch_as_declared,
        normalises_as_declared,
        follows_the_order_of_the_batch,
        treats_equal_rows_as_declared,
        takes_a_batch_of_one,
        survives_bf16_autocast,
        is_deterministic,
        state_round_trips,
        inputs_stay_as_they_are,
        never_waits_for_the_device,
    ),
)


def _difference_when_split(case: FusionCase, *, training: bool) -> str | None:
    """What differs for the first rows of a batch when the others are taken away; None where nothing does."""
    for sources in SOURCES:
        network, inputs = case.network(sources).train(training), case.input(sources)
        with torch.no_grad():
            together = modules.rows(_outputs(network, inputs), slice(3))
            differing = modules.difference(together, _outputs(network, [x[:3] for x in inputs]))
        if differing:
            return f"{differing} ({sources} sources)"
    return None


def _outputs(network: Any, inputs: list[Tensor]) -> Named:
    named: Named = {}
    for number, features in enumerate(network(inputs), start=1):
        branch = {"logits": features.logits, "embedding": features.embedding, "group_logits": features.group_logits}
        branch |= {f"stages[{stage}]": x for stage, x in enumerate(features.stages)}
        named |= {f"{name} of branch {number}": x for name, x in branch.items() if x is not None}
    return named
