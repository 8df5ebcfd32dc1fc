"""The poolings over time against their formulas, written out."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.poolings.attention import Attention
from kdbench.poolings.base import Pooling
from kdbench.poolings.consensus import Consensus
from kdbench.poolings.keyless import Keyless
from kdbench.poolings.lstm import Lstm
from kdbench.poolings.mean import Mean
from kdbench.poolings.relation import Relation

B, S, D = 4, 8, 6


def tokens(length: int = S, seed: int = 0) -> Tensor:
    return torch.randn(B, length, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(kind: type[Pooling], **params: Any) -> Any:
    torch.manual_seed(0)
    pooling = kind(D, **params)
    for parameter in pooling.parameters():
        nn.init.normal_(parameter, std=0.5)
    return pooling.double().eval()


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    result = torch.einsum("oi,...i->...o", layer.weight, x)
    return result if layer.bias is None else result + layer.bias


def lstm(layer: nn.LSTM, x: Tensor, suffix: str = "") -> Tensor:
    """One direction of one layer, step by step: gates i, f, g, o."""
    w, u, b, c = (getattr(layer, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    state = cell = x.new_zeros(len(x), u.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (x[:, t] @ w.T + b + state @ u.T + c).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = o.sigmoid() * cell.tanh()
        outputs.append(state)
    return torch.stack(outputs, 1)


def both_ways(layer: nn.LSTM, x: Tensor) -> Tensor:
    return torch.cat([lstm(layer, x), lstm(layer, x.flip(1), "_reverse").flip(1)], 2)


def shares(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum(1, keepdim=True)


def test_the_mean_is_the_mean() -> None:
    torch.testing.assert_close(made(Mean)(tokens()), sum(tokens()[:, t] for t in range(S)) / S)


@pytest.mark.parametrize("project", [None, 5])
@pytest.mark.parametrize("width", [None, 3])
def test_keyless_follows_its_formula(project: int | None, width: int | None) -> None:
    pooling = made(Keyless, project=project, lstm=width)
    x = tokens()
    if project:
        x = linear(pooling.projection[0], x).tanh()
    if width:
        x = both_ways(pooling.recurrent.layers[0], x)
    alpha = shares(torch.einsum("i,bti->bt", pooling.score.weight[0], x))
    torch.testing.assert_close(pooling(tokens()), torch.einsum("bt,bti->bi", alpha, x))
    assert pooling.out_width == (2 * width if width else project or D)


def test_keyless_is_mumus_by_its_parameters() -> None:
    pooling = made(
        Keyless,
        project=5,
        activation="relu",
        dropout_projected=0.4,
        lstm=5,
        layers=2,
        bidirectional=False,
        dropout_layers=0.4,
        dropout=0.0,
    )
    x = linear(pooling.projection[0], tokens()).clamp_min(0)
    for layer in pooling.recurrent.layers:
        x = lstm(layer, x)
    alpha = shares(torch.einsum("i,bti->bt", pooling.score.weight[0], x))
    torch.testing.assert_close(pooling(tokens()), torch.einsum("bt,bti->bi", alpha, x))
    assert [part.p for part in pooling.modules() if isinstance(part, nn.Dropout)] == [0.4, 0.4, 0.0]


def test_keyless_sees_time_where_an_lstm_does() -> None:
    assert Keyless(D).sees_order
    assert not Keyless(D, lstm=None).sees_order


@pytest.mark.parametrize("join", ["sum", "mean"])
@pytest.mark.parametrize("relu", [True, False])
def test_attention_follows_its_formula(join: str, relu: bool) -> None:
    heads, size = 2, 8
    pooling = made(Attention, hidden=size, heads=heads, join=join, relu=relu)
    x = linear(pooling.projection[0], tokens()).clamp_min(0)
    for layer in pooling.recurrent.layers:
        x = lstm(layer, x)
    packed = torch.einsum("oi,bti->bto", pooling.attention.in_proj_weight, x) + pooling.attention.in_proj_bias
    q, k, v = (part.unflatten(2, (heads, size // heads)) for part in packed.chunk(3, dim=2))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(size // heads)
    weights = scores.exp() / scores.exp().sum(3, keepdim=True)
    y = linear(pooling.attention.out_proj, torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2))
    expected = y.sum(1) / (S if join == "mean" else 1)
    torch.testing.assert_close(pooling(tokens()), expected.clamp_min(0) if relu else expected)


@pytest.mark.parametrize("read", ["last", "mean"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_lstm_reads_its_end_or_its_mean(read: str, bidirectional: bool) -> None:
    pooling = made(Lstm, hidden=3, read=read, bidirectional=bidirectional)
    (layer,) = pooling.recurrent.layers
    x = both_ways(layer, tokens()) if bidirectional else lstm(layer, tokens())
    ends = torch.cat([x[:, -1, :3], x[:, 0, 3:]], 1) if bidirectional else x[:, -1]
    torch.testing.assert_close(pooling(tokens()), x.mean(1) if read == "mean" else ends)


# Consensus -----------------------------------------------------------------------------------------------------------


def test_the_mean_of_the_frames_scores_is_the_score_of_the_consensus() -> None:
    head = nn.Linear(D, 5).double()
    scores = torch.stack([head(tokens()[:, t]) for t in range(S)]).mean(0)
    torch.testing.assert_close(head(made(Consensus)(tokens())), scores)


def test_dropout_falls_on_each_frame_or_on_the_mean() -> None:
    ones = torch.ones(200, S, D, dtype=torch.float64)
    torch.manual_seed(0)
    frames = Consensus(D).train()(ones)
    mean = Consensus(D, dropout_of="mean").train()(ones)
    assert set(mean.flatten().tolist()) == {0.0, 2.0}
    assert len(set(frames.flatten().tolist())) == S + 1
    assert abs(float(frames.mean()) - 1) < 0.05


# Relation ------------------------------------------------------------------------------------------------------------


def related(pooling: Relation, x: Tensor, subsets: dict[int, list[tuple[int, ...]]]) -> Tensor:
    frames = linear(pooling.feature, x)
    sums = []
    for size, layer in zip(pooling.sizes, pooling.relations, strict=True):
        seen = [torch.cat([frames[:, t] for t in subset], 1).clamp_min(0) for subset in subsets[size]]
        sums.append(sum(linear(layer, each).clamp_min(0) for each in seen))
    return torch.cat(sums, 1)


def every_subset(frames: int) -> dict[int, list[tuple[int, ...]]]:
    return {size: list(itertools.combinations(range(frames), size)) for size in range(2, frames + 1)}


def test_relation_follows_its_formula_where_it_takes_every_subset() -> None:
    pooling = made(Relation, frames=4, feature=3, hidden=5, subsets=6)
    x = tokens(4)
    torch.testing.assert_close(pooling(x), related(pooling, x, every_subset(4)))
    assert pooling.out_width == 5 * 3


def test_the_heads_linear_layer_adds_the_scales_up_as_trn_does() -> None:
    pooling = made(Relation, frames=4, feature=3, hidden=5, subsets=6)
    head = nn.Linear(pooling.out_width, 7).double()
    embedding = pooling(tokens(4))
    scales = zip(embedding.split(5, 1), head.weight.split(5, 1), strict=True)
    torch.testing.assert_close(head(embedding), sum(g @ w.T for g, w in scales) + head.bias)


def test_the_subsets_are_fixed_at_test_and_drawn_in_training() -> None:
    pooling = made(Relation, frames=6, feature=3, hidden=5, dropout=0.0)
    x, every = tokens(6), every_subset(6)
    fixed = {size: [subsets[(2 * n + 1) * len(subsets) // 6] for n in range(3)] for size, subsets in every.items()}
    fixed[6] = every[6]
    torch.testing.assert_close(pooling(x), related(pooling, x, fixed))
    pooling.train()
    torch.manual_seed(1)
    first, other = pooling(x), pooling(x)
    torch.manual_seed(1)
    assert torch.equal(first, pooling(x))
    assert not torch.equal(first, other)
    torch.testing.assert_close(first[:, :5], other[:, :5])


def test_drawn_subsets_differ_from_one_another_and_all_come_up() -> None:
    pooling = Relation(D, frames=4, subsets=3).train()
    torch.manual_seed(0)
    drawn = [[tuple(subset) for subset in pooling._chosen(2).tolist()] for _ in range(60)]
    assert all(len(set(subsets)) == 3 for subsets in drawn)
    assert set().union(*drawn) == set(itertools.combinations(range(4), 2))


@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_relation_brings_a_sequence_to_its_frames_by_means_of_equal_parts(length: int) -> None:
    pooling = made(Relation, frames=4, feature=3, hidden=5)
    x = tokens(length)
    parts = [x[:, math.floor(n * length / 4) : math.ceil((n + 1) * length / 4)].mean(1) for n in range(4)]
    torch.testing.assert_close(pooling(x), pooling(torch.stack(parts, 1)))


def test_published_sizes_are_the_defaults() -> None:
    trn = Relation(768)
    assert (trn.frames, trn.feature.out_features, trn.subsets, trn.dropout.p) == (8, 256, 3, 0.8)
    assert trn.out_width == 256 * 7
    assert [layer.in_features for layer in trn.relations] == [256 * size for size in range(8, 1, -1)]
    hamlet = Attention(768)
    assert (hamlet.out_width, len(hamlet.recurrent.layers), hamlet.attention.num_heads) == (128, 2, 2)
    assert {part.p for part in hamlet.modules() if isinstance(part, nn.Dropout)} == {0.4}
    keyless = Keyless(768)
    assert (keyless.projection[0].out_features, keyless.out_width, keyless.dropout.p) == (256, 256, 0.5)
    assert Consensus(768).dropout.p == 0.5


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        (Keyless, {"project": 0}, "keyless: project = 0, expected a whole number above 0"),
        (Keyless, {"lstm": -1}, "keyless: lstm = -1, expected a whole number above 0"),
        (Keyless, {"layers": 1.5}, "keyless: layers = 1.5, expected a whole number"),
        (Keyless, {"dropout": 1.0}, r"keyless: dropout = 1.0, expected a number in \[0, 1\)"),
        (Keyless, {"activation": "tanhh"}, "unknown activation of keyless 'tanhh'; did you mean 'tanh'"),
        (Keyless, {"project": None, "activation": "relu"}, "activation has no effect without project"),
        (
            Keyless,
            {"lstm": None, "layers": 2, "bidirectional": False},
            "layers and bidirectional have no effect without lstm",
        ),
        (Keyless, {"dropout_layers": 0.1}, "dropout_layers has no effect without a second layer of the lstm"),
        (Attention, {"hidden": 9}, "attention: 2 heads do not divide the width 9"),
        (Attention, {"heads": 0}, "attention: heads = 0"),
        (Attention, {"join": "summ"}, "unknown join of attention 'summ'; did you mean 'sum'"),
        (Attention, {"attention_dropout": -0.1}, "attention: attention_dropout = -0.1"),
        (Lstm, {"read": "lst"}, "unknown read of lstm 'lst'; did you mean 'last'"),
        (Lstm, {"hidden": 0}, "lstm: hidden = 0"),
        (Consensus, {"dropout_of": "frame"}, "unknown dropout_of of consensus 'frame'; did you mean 'frames'"),
        (Consensus, {"dropout": 2}, "consensus: dropout = 2"),
        (Relation, {"frames": 1}, "relation: frames = 1, expected a whole number from 2 to 16"),
        (Relation, {"frames": 17}, "relation: frames = 17"),
        (Relation, {"subsets": 0}, "relation: subsets = 0"),
    ],
)
def test_a_wrong_parameter_is_refused(kind: type[Pooling], params: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kind(D, **params)
