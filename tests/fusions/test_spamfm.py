"""SAKDN's gates against their formula, term by term."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.fusions.base import alike
from kdbench.fusions.spamfm import SPAMFM, SPAMFMFusion


def gate(layers: torch.nn.Sequential, x: Tensor) -> Tensor:
    first, _, second, _ = layers
    hidden = (torch.einsum("oi,bi->bo", first.weight, x) + first.bias).clamp_min(0)
    return 1 / (1 + (-(torch.einsum("oi,bi->bo", second.weight, hidden) + second.bias)).exp())


def literal(module: SPAMFM, maps: list[Tensor]) -> list[Tensor]:
    gathered = []
    for features in maps:
        gram = torch.einsum("acxy,bcxy->ab", features, features)
        size = gram.square().sum(1, keepdim=True) if module.norm == "row" else gram.square().sum()
        pooled = torch.einsum("bcxy->bc", features) / (features.shape[2] * features.shape[3])
        gathered.append(torch.einsum("ab,bc->ac", gram / size.sqrt(), pooled))
    outputs = []
    for index, features in enumerate(maps):
        factor = gate(module.concat[index], torch.cat(gathered, 1))
        factor = factor + gate(module.sum[index], sum(gathered)) + gate(module.hadamard[index], math.prod(gathered))
        outputs.append(torch.einsum("bc,bcxy->bcxy", factor, features))
    return outputs


@pytest.mark.parametrize("norm", ["row", "frobenius"])
@pytest.mark.parametrize(("rows", "sources"), [(5, 2), (5, 1), (1, 2), (4, 4)])
def test_follows_the_equations(norm: str, rows: int, sources: int) -> None:
    torch.manual_seed(0)
    module = SPAMFM(6, sources, norm=norm).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    maps = [torch.randn(rows, 6, 3, 2, dtype=torch.float64) for _ in range(sources)]
    for ours, expected in zip(module(maps), literal(module, maps), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(("sources", "ratio"), [(2, 4), (4, 8), (6, 12)])
def test_the_published_ratios_are_the_defaults(sources: int, ratio: int) -> None:
    module = SPAMFM(48, sources)
    assert module.concat[0][0].out_features == 48 * sources // ratio
    assert module.sum[0][0].out_features == module.hadamard[0][0].out_features == 48 // ratio
    assert len(module.concat) == len(module.sum) == len(module.hadamard) == sources


def test_gates_all_four_stages() -> None:
    channels = (4, 6, 8, 10)
    fusion = SPAMFMFusion(alike(channels, 2, 10))
    maps = [[torch.randn(3, count, 5) for _ in range(2)] for count in channels]
    outputs = [*(fusion.between(stage, maps[stage]) for stage in range(3)), fusion.last(maps[3])]
    for stage, (gated, given) in enumerate(zip(outputs, maps, strict=True)):
        for ours, expected, before in zip(gated, fusion.gates[stage](given), given, strict=True):
            assert torch.equal(ours, expected)
            assert ours.shape == before.shape


def test_a_prediction_depends_on_its_batch() -> None:
    torch.manual_seed(0)
    fusion = SPAMFMFusion(alike((4, 6, 8, 10), 2, 10))
    assert fusion.couples_batch
    maps = [torch.randn(5, 4, 3, 3) for _ in range(2)]
    together = fusion.between(0, maps)[0][:1]
    alone = fusion.between(0, [m[:1] for m in maps])[0]
    assert (together - alone).abs().max() > 1e-3


@pytest.mark.parametrize(("norm", "expected"), [("frobenius", True), ("row", False)])
def test_says_whether_equal_rows_stay_what_they_are_alone(norm: str, expected: bool) -> None:
    torch.manual_seed(0)
    fusion = SPAMFMFusion(alike((4, 6, 8, 10), 2, 10), norm=norm)
    maps = [torch.randn(1, 4, 3) for _ in range(2)]
    alone = fusion.between(0, maps)[0]
    together = fusion.between(0, [m.expand(6, -1, -1) for m in maps])[0]
    assert fusion.constant_batch_invariant is expected
    assert torch.allclose(together, alone.expand_as(together), atol=1e-6) is expected


@pytest.mark.parametrize("norm", ["frobenius", "row"])
def test_zero_maps_give_finite_values_and_gradients(norm: str) -> None:
    module = SPAMFM(4, 2, norm=norm)
    maps = [torch.zeros(3, 4, 5, requires_grad=True), torch.randn(3, 4, 5, requires_grad=True)]
    outputs = module(maps)
    sum(out.square().sum() for out in outputs).backward()
    assert all(torch.isfinite(out).all() for out in outputs)
    assert all(torch.isfinite(given.grad).all() for given in maps)


def test_what_is_gathered_stays_float32_under_autocast() -> None:
    torch.manual_seed(0)
    module = SPAMFM(8, 2)
    maps = [torch.randn(6, 8, 5) for _ in range(2)]
    exact = module(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tuned = module(maps)
        half = module([m.bfloat16() for m in maps])
    for ours, expected, low in zip(tuned, exact, half, strict=True):
        assert (ours.dtype, low.dtype) == (torch.float32, torch.bfloat16)
        torch.testing.assert_close(ours, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("params", "said"),
    [({"norm": "rows"}, "did you mean 'row'"), ({"ratio": 0}, "ratio = 0, expected 1 or more")],
)
def test_a_wrong_parameter_is_refused(params: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SPAMFMFusion(alike((4, 6, 8, 10), 2, 10), **params)


def test_with_stem_and_layers_it_has_the_published_seven_gates() -> None:
    shapes = tuple(replace(shape, stem=3) for shape in alike((4, 6, 8, 10), 2, 12))
    torch.manual_seed(0)
    fusion = SPAMFMFusion(shapes, stem=True, layers=(5, 7)).eval()
    assert len([module for module in fusion.modules() if isinstance(module, SPAMFM)]) == 7
    assert [shape.width for shape in fusion.out_shapes] == [7, 7]
    stems = [torch.randn(4, 3, 2, 2) for _ in range(2)]
    for ours, expected in zip(fusion.after_stem(stems), literal(fusion.stem_gates[0], stems), strict=True):
        torch.testing.assert_close(ours, expected)
    given = [torch.randn(4, 12) for _ in range(2)]
    hidden = given
    for layers, gates in zip(fusion.layers, fusion.layer_gates, strict=True):
        hidden = [(x @ layer[0].weight.T + layer[0].bias).clamp_min(0) for layer, x in zip(layers, hidden, strict=True)]
        hidden = [x[:, :, 0, 0] for x in literal(gates, [x[:, :, None, None] for x in hidden])]
    for ours, expected in zip(fusion.embedded(given), hidden, strict=True):
        torch.testing.assert_close(ours, expected)


def test_without_them_embeddings_and_stems_stay() -> None:
    fusion = SPAMFMFusion(alike((4, 6, 8, 10), 2, 10))
    given = [torch.randn(3, 10) for _ in range(2)]
    assert fusion.embedded(given) is given
    assert fusion.after_stem(given) is given
    assert not [name for name, _ in fusion.named_parameters() if not name.startswith("gates.")]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stem": True}, "declares no stem that a fusion may act on"),
        ({"layers": (3, 0)}, r"layers = \[3, 0\], expected positive widths"),
        ({"dropout": 0.5}, "dropout = 0.5 has no effect without layers"),
        ({"dropout": 1.0, "layers": (3,)}, "dropout = 1.0, expected"),
    ],
)
def test_layers_and_stems_that_there_are_not_are_refused(params: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SPAMFMFusion(alike((4, 6, 8, 10), 2, 10), **params)
