from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.fusions.base import alike
from kdbench.fusions.ft import FTFusion, FusionTuning


def literal(module: FusionTuning, maps: list[Tensor]) -> list[Tensor]:
    """Equations 4 to 11, term by term."""
    gathered = []
    for features in maps:
        gram = torch.einsum("alc,blc->ab", features, features)
        if module.norm == "frobenius":
            gram = gram / gram.square().sum().sqrt()
        else:
            gram = gram / gram.square().sum(1, keepdim=True).sqrt()
        mean = torch.einsum("blc->bc", features) / features.shape[1]
        gathered.append(torch.einsum("ab,bc->ac", gram, mean))

    def linear(layer, x):
        return torch.einsum("oc,bc->bo", layer.weight, x) + layer.bias

    def gelu(x):
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))

    product = gathered[0]
    for one in gathered[1:]:
        product = product * one
    attention = (
        gelu(linear(module.concat, torch.cat(gathered, 1)))
        + gelu(linear(module.sum, sum(gathered)))
        + gelu(linear(module.hadamard, product))
    )
    tuned = [torch.einsum("bc,blc->blc", attention, features) for features in maps]
    return [features + one for features, one in zip(maps, tuned, strict=True)] if module.residual else tuned


def random_layers(module: FusionTuning) -> FusionTuning:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("norm", ["frobenius", "row"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("rows", "sources"), [(5, 2), (5, 1), (1, 2), (1, 1), (4, 3)])
def test_follows_the_equations(norm, residual, rows, sources):
    torch.manual_seed(0)
    module = random_layers(FusionTuning(6, sources, norm=norm, residual=residual).double())
    maps = [torch.randn(rows, 7, 6, dtype=torch.float64) for _ in range(sources)]
    for ours, expected in zip(module(maps), literal(module, maps), strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_row_norm_grows_with_the_batch_and_the_frobenius_norm_does_not():
    row = torch.randn(1, 7, 6)
    for norm, expected in (("frobenius", 1.0), ("row", 4.0)):
        module = FusionTuning(6, 1, norm=norm)
        gathered = module.similarity(row.expand(16, -1, -1)) @ row.expand(16, -1, -1).mean(1)
        torch.testing.assert_close(gathered[:1], expected * row.mean(1))


def test_residual_starts_as_the_identity():
    maps = [torch.randn(4, 9, 8) for _ in range(2)]
    for ours, given in zip(FusionTuning(8, 2, residual=True)(maps), maps, strict=True):
        assert torch.equal(ours, given)


def test_residual_can_leave_the_identity():
    module = FusionTuning(8, 2, residual=True)
    maps = [torch.randn(4, 9, 8) for _ in range(2)]
    sum(out.square().sum() for out in module(maps)).backward()
    assert module.concat.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("norm", ["frobenius", "row"])
def test_zero_maps_give_finite_values_and_gradients(norm):
    module = FusionTuning(4, 2, norm=norm)
    maps = [torch.zeros(3, 5, 4, requires_grad=True), torch.randn(3, 5, 4, requires_grad=True)]
    outputs = module(maps)
    sum(out.square().sum() for out in outputs).backward()
    assert all(torch.isfinite(out).all() for out in outputs)
    assert all(torch.isfinite(given.grad).all() for given in maps)


def test_the_gram_matrix_stays_float32_under_autocast():
    module = FusionTuning(4, 1)
    features = torch.randn(6, 5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        graph = module.similarity(features)
        (tuned,) = module([features])
        half = module([features.bfloat16()])[0]
    assert graph.dtype == torch.float32
    torch.testing.assert_close(graph, module.similarity(features))
    assert tuned.dtype == torch.float32
    assert half.dtype == torch.bfloat16


def test_a_prediction_depends_on_its_batch():
    fusion = FTFusion(alike((4, 6, 8, 10), 2, 10))
    assert fusion.couples_batch
    maps = [torch.randn(5, 4, 3, 3) for _ in range(2)]
    together = fusion.between(0, maps)[0][:1]
    alone = fusion.between(0, [m[:1] for m in maps])[0]
    assert (together - alone).abs().max() > 1e-3


@pytest.mark.parametrize("grid", [(11,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_tunes_maps_of_any_rank(stage, grid):
    channels = (4, 6, 8, 10)
    fusion = FTFusion(alike(channels, 2, 10))
    maps = [torch.randn(3, channels[stage], *grid) for _ in range(2)]
    tuned = fusion.between(stage, maps)
    tokens = fusion.tunings[stage]([m.flatten(2).transpose(1, 2) for m in maps])
    for ours, given, expected in zip(tuned, maps, tokens, strict=True):
        assert ours.shape == given.shape
        torch.testing.assert_close(ours.flatten(2), expected.transpose(1, 2))


def test_has_one_tuning_a_stage_and_none_for_the_last():
    fusion = FTFusion(alike((4, 6, 8, 10), 2, 10))
    assert [tuning.sum.in_features for tuning in fusion.tunings] == [4, 6, 8]
    assert fusion.tunings[0].concat.in_features == 8


@pytest.mark.parametrize(("norm", "expected"), [("frobenius", True), ("row", False)])
def test_says_whether_equal_rows_stay_what_they_are_alone(norm, expected):
    torch.manual_seed(0)
    fusion = FTFusion(alike((4, 6, 8, 10), 2, 10), norm=norm)
    maps = [torch.randn(1, 4, 3) for _ in range(2)]
    alone = fusion.between(0, maps)[0]
    together = fusion.between(0, [m.expand(6, -1, -1) for m in maps])[0]
    assert fusion.constant_batch_invariant is expected
    assert torch.allclose(together, alone.expand_as(together), atol=1e-6) is expected


def test_an_unknown_norm_names_the_near_miss():
    with pytest.raises(UsageError, match="did you mean 'frobenius'"):
        FusionTuning(4, 2, norm="frobenious")
