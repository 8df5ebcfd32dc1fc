"""What every built-in fusion promises to the network, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sweep import swept
from torch import Tensor

from kdbench.fusions import BUILTIN
from kdbench.fusions.base import Fusion, alike
from kdbench.fusions.masked import Masked
from kdbench.registry import registry

CHANNELS, WIDTH = (3, 4, 6, 8), 8
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in BUILTIN} | {
    "ft row": ("ft", {"norm": "row"}),
    "spamfm frobenius": ("spamfm", {"norm": "frobenius"}),
    "attention linear": ("attention", {"score": "linear"}),
    "multihead sum": ("multihead", {"join": "sum"}),
    "multihead layer": ("multihead", {"norm": "layer"}),
    "multihead modality": ("multihead", {"norm": "modality"}),
    "concat hidden": ("concat", {"hidden": 7, "dropout": 0.5}),
    "guided metro": (
        "guided",
        {"norm": "none", "attention_dropout": 0.2, "attended": "relu", "group_head": "linear"},
    ),
    "guided layer": ("guided", {"norm": "layer"}),
    "masked": ("masked", {"width": 16, "heads": 2, "memory": 3}),
}
every = pytest.mark.parametrize("variant", sorted(VARIANTS))
counts = swept("sources", [1, 2, 4])


def made(variant: str, sources: int) -> Fusion:
    name, params = VARIANTS[variant]
    torch.manual_seed(0)
    return registry("fusion").get(name)(alike(CHANNELS, sources, WIDTH), **params).eval()


def inputs(sources: int, rows: int = 5, grid: tuple[int, ...] = (4, 2), seed: int = 0) -> list[list[Tensor]]:
    """Maps of each stage of each source, as positive as those behind a ReLU."""
    drawn = torch.Generator().manual_seed(seed)
    return [[torch.rand(rows, count, *grid, generator=drawn) for _ in range(sources)] for count in CHANNELS]


def outputs(fusion: Fusion, maps: list[list[Tensor]]) -> list[Tensor]:
    """Everything that a network hands on: the maps and the embedding of each branch."""
    passed = [*(fusion.between(stage, maps[stage]) for stage in range(3)), fusion.last(maps[3])]
    embeddings = [last.flatten(2).mean(2) for last in passed[3]]
    if not fusion.joint:
        return [*(m for stage in passed for m in stage), *embeddings]
    stages, *features = fusion.after(list(zip(*passed, strict=True)), embeddings)
    return [*stages, *features]


@every
@counts
@swept("grid", [(7,), (4, 2), (2, 3, 2)])
def test_shapes_are_as_declared(variant: str, sources: int, grid: tuple[int, ...]) -> None:
    fusion = made(variant, sources)
    branches = 1 if fusion.joint else sources
    found = outputs(fusion, inputs(sources, grid=grid))
    expected = [(5, count, *grid) for count in fusion.out_shapes[0].channels for _ in range(branches)]
    expected += [(5, fusion.out_shapes[0].width)] * branches
    assert [tuple(x.shape) for x in found[: len(expected)]] == expected
    behind = [(5, fusion.auxiliary_width), *([(5, fusion.rebuilt_tokens)] if fusion.rebuilt_tokens else [])]
    rest = [tuple(x.shape) for x in found[len(expected) :]]
    assert rest == behind[: len(rest)]
    assert bool(fusion.rebuilt_tokens) == (len(rest) == 2)


@every
@counts
def test_every_source_gets_a_gradient(variant: str, sources: int) -> None:
    fusion = made(variant, sources).train()
    maps = [[m.requires_grad_() for m in stage] for stage in inputs(sources)]
    sum(out.square().sum() for out in outputs(fusion, maps)).backward()
    for stage in maps:
        for given in stage:
            assert given.grad is not None
            assert given.grad.isfinite().all()
            assert given.grad.abs().sum() > 0


@every
@counts
def test_the_coupling_of_the_batch_is_declared_truly(variant: str, sources: int) -> None:
    fusion = made(variant, sources)
    maps = inputs(sources)
    order = torch.tensor([3, 0, 4, 1, 2])
    whole = outputs(fusion, maps)
    permuted = outputs(fusion, [[m[order] for m in stage] for stage in maps])
    alone = outputs(fusion, [[m[:2] for m in stage] for stage in maps])
    for full, moved in zip(whole, permuted, strict=True):
        torch.testing.assert_close(moved, full[order])
    same = all(torch.allclose(part, full[:2], atol=1e-5) for part, full in zip(alone, whole, strict=True))
    assert same is not fusion.couples_batch


@every
@counts
def test_in_training_batchnorm_alone_adds_to_the_coupling(variant: str, sources: int) -> None:
    fusion = made(variant, sources).train()
    for module in fusion.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
        if isinstance(module, Masked):
            module.drop_tokens = 0.0
    maps = inputs(sources)
    whole = outputs(fusion, maps)
    alone = outputs(fusion, [[m[:2] for m in stage] for stage in maps])
    same = all(torch.allclose(part, full[:2], atol=1e-5) for part, full in zip(alone, whole, strict=True))
    assert same is not (fusion.couples_batch or fusion.normalisation == "batch")


@every
@counts
def test_equal_rows_get_what_one_would_get_alone_where_it_says_so(variant: str, sources: int) -> None:
    fusion = made(variant, sources)
    maps = inputs(sources, rows=1)
    alone = outputs(fusion, maps)
    together = outputs(fusion, [[m.expand(6, *m.shape[1:]) for m in stage] for stage in maps])
    same = all(torch.allclose(x, y.expand_as(x), atol=1e-5) for x, y in zip(together, alone, strict=True))
    assert same is fusion.constant_batch_invariant


@every
@counts
def test_a_saved_fusion_answers_as_it_did(variant: str, sources: int) -> None:
    fusion = made(variant, sources)
    name, params = VARIANTS[variant]
    torch.manual_seed(9)
    other = registry("fusion").get(name)(alike(CHANNELS, sources, WIDTH), **params).eval()
    other.load_state_dict(fusion.state_dict())
    for ours, theirs in zip(outputs(fusion, inputs(sources)), outputs(other, inputs(sources)), strict=True):
        assert torch.equal(ours, theirs)


@every
def test_the_inputs_are_left_as_they_are(variant: str) -> None:
    maps = inputs(3)
    outputs(made(variant, 3), maps)
    for stage, fresh in zip(maps, inputs(3), strict=True):
        assert all(torch.equal(ours, expected) for ours, expected in zip(stage, fresh, strict=True))


@every
def test_half_precision_gives_finite_values_of_its_own_type(variant: str) -> None:
    fusion = made(variant, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs(fusion, [[m.bfloat16() for m in stage] for stage in inputs(2)])
    for ours, exact in zip(found, outputs(fusion, inputs(2)), strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), exact, rtol=5e-2, atol=5e-2)


def read_on_the_host(step: Callable[[], None]) -> list[str]:
    """Operators of a step that read a value of the device on the host; seen also inside autograd's own formulas."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    return [event.key for event in profile.key_averages() if event.key in ("aten::item", "aten::nonzero")]


@every
def test_a_step_never_waits_for_the_device(variant: str) -> None:
    fusion = made(variant, 3).train()
    maps = [[m.requires_grad_() for m in stage] for stage in inputs(3)]
    assert not read_on_the_host(lambda: sum(out.square().sum() for out in outputs(fusion, maps)).backward())


def test_the_watch_for_reads_sees_one_that_autograd_hides() -> None:
    values = torch.rand(3, 4, requires_grad=True)
    assert read_on_the_host(lambda: values.prod(0).sum().backward()) == ["aten::item"]


@every
def test_it_compiles_as_one_graph(variant: str) -> None:
    torch.compiler.reset()
    fusion = made(variant, 2)
    compiled = torch.compile(lambda maps: outputs(fusion, maps), backend="eager", fullgraph=True)
    for ours, expected in zip(compiled(inputs(2)), outputs(fusion, inputs(2)), strict=True):
        torch.testing.assert_close(ours, expected)
