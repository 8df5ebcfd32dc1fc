"""What every fusion promises: for any number of sources, and truly declared where it couples the rows of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdbench.encoders.base import unread
from kdbench.encoders.conv import Conv1d
from kdbench.fusions.base import Fusion, alike
from kdbench.network import Branch, Network
from kdbench.representations.raw import Raw
from kdbench.testing import modules
from kdbench.testing.base import CheckSuite, Failed, Skipped, checks_in
from kdbench.testing.demands import (
    Named,
    demand_declared,
    demand_finite,
    demand_gradients,
    demand_same,
    normal,
    rows,
    untouched,
    weighted_sum,
)
from kdbench.text.wording import counted

CHANNELS, WIDTH = (4, 6, 8, 10), 10
SOURCES = (1, 2, 4)
GRIDS = {"series": ((16,), (8,), (4,), (2,)), "image": ((8, 8), (4, 4), (2, 2), (1, 1))}
SAMPLES, AXES, LENGTH, CLASSES, GROUPS = 6, 3, 64, 5, 3


class FusionCase(modules.ModuleCase):
    """One fusion with its parameters, inside a network of small encoders; arguments as of `ModuleCase`."""

    def fusion(self, sources: int, seed: int = 0) -> Fusion:
        """A new fusion alone."""
        fusion: Fusion = self.build(alike(CHANNELS, sources, WIDTH), seed=seed)
        return fusion

    def made(self, seed: int = 0, sources: int = 2) -> Network:
        """A network around the fusion, off its initial state and in float64; with heads for groups."""
        fusion = self.fusion(sources, seed)
        torch.manual_seed(seed)
        names = [f"sensor_{number}" for number in range(sources)]
        network = Network(
            {
                name: Branch(name, Raw(AXES, statistics=((0.5,), (0.5,))), Conv1d(AXES, widths=CHANNELS))
                for name in names
            },
            modules.moved_off(fusion),
            classes=CLASSES,
            semantic=None,
            groups=GROUPS,
        )
        return network.to(self.device).double()

    def input(self, samples: int = SAMPLES, sources: int = 2) -> list[Tensor]:
        """A batch of series of each source."""
        shape = (samples, AXES, LENGTH)
        return [normal(*shape, seed=number, dtype=torch.float64).to(self.device) for number in range(sources)]

    def outputs(self, module: Any, inputs: Any) -> Named:
        """Every feature of every branch."""
        named: Named = {}
        for number, features in enumerate(module(inputs), start=1):
            fields = ("logits", "embedding", "group_logits", "token_errors")
            branch = {name: getattr(features, name) for name in fields}
            branch |= {f"stages[{stage}]": x for stage, x in enumerate(features.stages)}
            named |= {f"{name} of branch {number}": x for name, x in branch.items() if x is not None}
        return named


def takes_any_number_of_sources(case: FusionCase) -> None:
    """With one, two and four sources the maps keep their shapes, and what comes out is as declared."""
    for sources in SOURCES:
        fusion = case.fusion(sources).eval()
        for words, grids in GRIDS.items():
            with torch.no_grad():
                _demand_shapes(case, fusion, sources, grids, f"with {sources} {words} maps")
        with torch.no_grad():
            demand_finite(
                case.outputs(case.module(sources=sources), case.input(sources=sources)), f"with {sources} sources"
            )


def _demand_shapes(
    case: FusionCase, fusion: Fusion, sources: int, grids: tuple[tuple[int, ...], ...], words: str
) -> None:
    stages: list[list[Tensor]] = []
    for stage, (channels, grid) in enumerate(zip(CHANNELS, grids, strict=True)):
        maps = [normal(SAMPLES, channels, *grid, seed=10 * stage + number).to(case.device) for number in range(sources)]
        fused = fusion.between(stage, list(maps)) if stage < 3 else fusion.last(list(maps))
        shapes, given = [tuple(x.shape) for x in fused], [tuple(x.shape) for x in maps]
        if shapes != given:
            raise Failed(f"after stage {stage + 1} it gives maps {shapes} for {given} {words}")
        stages.append(fused)
    embeddings = [x.flatten(2).mean(2) for x in stages[-1]]
    declared = [(tuple(shape.channels), shape.width) for shape in fusion.out_shapes]
    if len(declared) != (1 if fusion.joint else sources):
        raise Failed(f"it declares joint = {fusion.joint} and {len(declared)} out_shapes of {sources} branches")
    if not fusion.joint:
        given_out = [(CHANNELS, x.shape[1]) for x in fusion.embedded(embeddings)]
        if declared != given_out:
            raise Failed(
                f"it declares joint = False and out_shapes {declared}; its separate branches have {given_out} {words}"
            )
        return
    ((channels_out, width_out),) = declared
    joined, embedding, *seen = fusion.after(list(zip(*stages, strict=True)), embeddings)
    widths = tuple(x.shape[1] for x in joined)
    if widths != channels_out:
        raise Failed(f"its joint maps have {widths} channels {words}, and it declares {channels_out}")
    expected = [("embedding", embedding, width_out)]
    expected += [("feature for the groups", feature, fusion.auxiliary_width) for feature in seen[:1]]
    expected += [("errors of tokens", errors, fusion.rebuilt_tokens) for errors in seen[1:]]
    if bool(fusion.rebuilt_tokens) != (len(seen) > 1):
        raise Failed(
            f"it declares rebuilt_tokens = {fusion.rebuilt_tokens} and hands out {counted(len(seen) + 2, 'thing')}"
        )
    for name, feature, width in expected:
        if tuple(feature.shape) != (SAMPLES, width):
            raise Failed(f"its joint {name} is {tuple(feature.shape)} {words}, and it declares a width of {width}")


def gradient_reaches_every_source(case: FusionCase) -> None:
    """A gradient comes back to every source, and to every parameter of the fusion."""
    for sources in SOURCES[1:]:
        network, inputs = (
            case.module(sources=sources).train(),
            [x.requires_grad_() for x in case.input(sources=sources)],
        )
        outputs = case.outputs(network, [x.requires_grad_() for x in inputs])
        gradients = torch.autograd.grad(weighted_sum(outputs), inputs, allow_unused=True, retain_graph=True)
        lost = [str(n) for n, gradient in enumerate(gradients, start=1) if gradient is None or not gradient.any()]
        if lost:
            raise Failed(f"no gradient reaches source {', '.join(lost)} of {sources}")
        demand_gradients(network.fusion, weighted_sum(outputs))


def prediction_depends_on_every_map(case: FusionCase) -> None:
    """The class scores depend on what it returns after each stage, for every source."""
    for sources in SOURCES:
        network, inputs = case.module(sources=sources), case.input(sources=sources)
        fusion = network.fusion
        fused: list[Tensor] = []

        def recorded(maps: list[Tensor], fused: list[Tensor] = fused) -> list[Tensor]:
            fused += maps
            return maps

        between, last = fusion.between, fusion.last
        fusion.between = lambda stage, maps: recorded(between(stage, maps))  # noqa: B023
        fusion.last = lambda maps: recorded(last(maps))  # noqa: B023
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
    couples = case.module().fusion.couples_batch
    demand_declared(f"couples_batch = {couples}", couples, _difference_when_split(case, training=False))


def normalises_as_declared(case: FusionCase) -> None:
    """In training, a row depends on the rest of its batch if, and only if, it declares `normalisation = "batch"`."""
    fusion = case.module().fusion
    if fusion.couples_batch:
        raise Skipped("it couples the batch in any mode")
    declares = f"normalisation = {fusion.normalisation!r}"
    demand_declared(declares, fusion.normalisation == "batch", _difference_when_split(case, training=True))


def follows_the_order_of_the_batch(case: FusionCase) -> None:
    """With the rows of the batch in another order, the rows of the output are in that order."""
    order = torch.tensor([4, 0, 5, 2, 1, 3], device=case.device)
    for sources in SOURCES:
        network, inputs = case.module(sources=sources), case.input(sources=sources)
        with torch.no_grad():
            ordered = rows(case.outputs(network, inputs), order)
            after = case.outputs(network, [x[order] for x in inputs])
        demand_same(ordered, after, "a row's place in the batch matters: with the rows in another order")


def treats_equal_rows_as_declared(case: FusionCase) -> None:
    """Where it declares `constant_batch_invariant`, each of several equal rows gets what one alone would get."""
    for sources in SOURCES:
        network, one = case.module(sources=sources), case.input(1, sources)
        if not network.fusion.constant_batch_invariant:
            return
        with torch.no_grad():
            alone = case.outputs(network, one)
            several = rows(case.outputs(network, [x.expand(SAMPLES, -1, -1) for x in one]), slice(1))
        demand_same(alone, several, "it declares constant_batch_invariant = True, and in a batch of equal rows")


def takes_a_batch_of_one(case: FusionCase) -> None:
    """The last batch of an epoch may hold one trial, in eval mode and in training."""
    for sources in SOURCES:
        for training in (False, True):
            network, inputs = case.module(sources=sources).train(training), case.input(1, sources)
            outputs = case.outputs(network, inputs)
            demand_finite(outputs, "on a batch of one")
            demand_gradients(network.fusion, weighted_sum(outputs)) if sources > 1 else None


def survives_bf16_autocast(case: FusionCase) -> None:
    """Inside bf16 autocast the output is finite, also where features are large."""
    network = case.module().float()
    inputs = [x.float() for x in case.input()]
    for scale in (1.0, 100.0):
        with torch.no_grad(), torch.autocast(case.device.type, torch.bfloat16):
            demand_finite(case.outputs(network, [scale * x for x in inputs]), f"inside autocast, scaled by {scale:g}")


def inputs_stay_as_they_are(case: FusionCase) -> None:
    """The maps are not changed in place."""
    fusion = case.fusion(2).eval()
    for stage, channels in enumerate(CHANNELS):
        maps = [normal(SAMPLES, channels, 4, seed=number).to(case.device) for number in range(2)]
        with torch.no_grad(), untouched(*((f"map {number}", x) for number, x in enumerate(maps, start=1))):
            fusion.last(list(maps)) if stage == 3 else fusion.between(stage, list(maps))


SUITE = CheckSuite(FusionCase, gates=(takes_any_number_of_sources,), checks=(*checks_in(__name__), *modules.CHECKS))


def _difference_when_split(case: FusionCase, *, training: bool) -> str | None:
    for sources in SOURCES:
        network, inputs = case.module(sources=sources).train(training), case.input(sources=sources)
        if differing := case.difference_when_split(network, inputs, whole=3):
            return f"{differing} ({sources} sources)"
    return None
