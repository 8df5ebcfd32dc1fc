"""The late fusions of one head: sum, product, and three kinds of attention over the sources."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.fusions.attention import Attention
from kdbench.fusions.base import Shape, alike
from kdbench.fusions.concat import Concat
from kdbench.fusions.guided import Guided
from kdbench.fusions.hadamard import Hadamard
from kdbench.fusions.multihead import MultiHead
from kdbench.fusions.sum import Sum

CHANNELS, WIDTH, ROWS = (2, 3, 4, 5), 5, 6
PAIR = alike(CHANNELS, 2, WIDTH)
Branch = tuple[list[tuple[Tensor, ...]], list[Tensor]]


def branches(sources: int, rows: int = ROWS, seed: int = 0) -> Branch:
    drawn = torch.Generator().manual_seed(seed)
    stages = [
        tuple(torch.randn(rows, count, 3, 2, generator=drawn, dtype=torch.float64) for count in CHANNELS)
        for _ in range(sources)
    ]
    embeddings = [torch.randn(rows, WIDTH, generator=drawn, dtype=torch.float64) for _ in range(sources)]
    return stages, embeddings


def linear(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    result = torch.einsum("oi,bi->bo", layer.weight, x)
    return result if layer.bias is None else result + layer.bias


def normalised(layer: torch.nn.Module, x: Tensor) -> Tensor:
    dim = 1 if isinstance(layer, torch.nn.LayerNorm) else 0
    mean = x.mean(dim, keepdim=True)
    variance = (x - mean).square().mean(dim, keepdim=True)
    return (x - mean) / (variance + layer.eps).sqrt() * layer.weight + layer.bias


def shares(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum(1, keepdim=True)


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    # In training mode, so that BatchNorm takes the statistics of the rows; nothing may be dropped then.
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if isinstance(part, torch.nn.MultiheadAttention):
            part.dropout = 0.0
    return module.double().train()


def mixed(weights: Tensor, values: list[Tensor]) -> Tensor:
    return sum(torch.einsum("b,b...->b...", weights[:, m], value) for m, value in enumerate(values))


@pytest.mark.parametrize("sources", [1, 2, 4])
def test_sum_adds_and_hadamard_multiplies(sources: int) -> None:
    stages, embeddings = branches(sources)
    for fusion, expected in (
        (Sum(alike(CHANNELS, sources, WIDTH)), sum),
        (Hadamard(alike(CHANNELS, sources, WIDTH)), math.prod),
    ):
        maps, embedding = fusion.after(stages, embeddings)
        torch.testing.assert_close(embedding, expected(embeddings))
        for index, joined in enumerate(maps):
            torch.testing.assert_close(joined, expected([branch[index] for branch in stages]))
        assert fusion.out_shapes[0] == Shape("+".join(s.name for s in fusion.shapes), CHANNELS, WIDTH)


@pytest.mark.parametrize("sources", [1, 2, 4])
@pytest.mark.parametrize("score", ["tanh", "linear"])
def test_attention_follows_its_formula(score: str, sources: int) -> None:
    fusion = randomised(Attention(alike(CHANNELS, sources, WIDTH), score=score, hidden=7 if score == "tanh" else None))
    stages, embeddings = branches(sources)
    if score == "tanh":
        first, _, second = fusion.score
        scores = [linear(second, linear(first, h).tanh()) for h in embeddings]
    else:
        scores = [linear(fusion.score, h) for h in embeddings]
    alpha = shares(torch.cat(scores, 1))
    maps, embedding = fusion.after(stages, embeddings)
    torch.testing.assert_close(embedding, mixed(alpha, embeddings))
    for index, joined in enumerate(maps):
        torch.testing.assert_close(joined, mixed(alpha, [branch[index] for branch in stages]))


@pytest.mark.parametrize("sources", [1, 2, 4])
@pytest.mark.parametrize("join", ["concat", "sum"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_multihead_follows_its_formula(norm: str, join: str, sources: int) -> None:
    heads, size = 2, 8
    fusion = randomised(MultiHead(alike(CHANNELS, sources, WIDTH), hidden=size, heads=heads, join=join, norm=norm))
    stages, embeddings = branches(sources)
    x = torch.stack([linear(w, h).clamp_min(0) for w, h in zip(fusion.projections, embeddings, strict=True)], 1)
    packed = torch.einsum("oi,bmi->bmo", fusion.attention.in_proj_weight, x) + fusion.attention.in_proj_bias
    q, k, v = (part.unflatten(2, (heads, size // heads)) for part in packed.chunk(3, dim=2))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(size // heads)
    attention = scores.exp() / scores.exp().sum(3, keepdim=True)
    y = torch.einsum("bhqk,bkhd->bqhd", attention, v).flatten(2)
    y = torch.einsum("oi,bmi->bmo", fusion.attention.out_proj.weight, y) + fusion.attention.out_proj.bias
    z = y.flatten(1) if join == "concat" else y.sum(1)
    expected = linear(fusion.head[3], normalised(fusion.head[0], z).clamp_min(0)).clamp_min(0)
    maps, embedding = fusion.after(stages, embeddings)
    torch.testing.assert_close(embedding, expected)
    received = attention.mean((1, 2))
    for index, joined in enumerate(maps):
        torch.testing.assert_close(joined, mixed(received, [branch[index] for branch in stages]))
    assert fusion.out_shapes[0].width == size


def by_modality(layer: torch.nn.BatchNorm1d, x: Tensor) -> Tensor:
    """BatchNorm of `(B, m, d)` with the statistics of each modality over batch and entries."""
    mean = x.mean((0, 2), keepdim=True)
    variance = (x - mean).square().mean((0, 2), keepdim=True)
    return (x - mean) / (variance + layer.eps).sqrt() * layer.weight[:, None] + layer.bias[:, None]


@pytest.mark.parametrize("join", ["concat", "sum"])
def test_multihead_normalises_over_the_modalities_as_its_author_does(join: str) -> None:
    shapes = (Shape("wrist", CHANNELS, WIDTH), Shape("camera", CHANNELS, 4))
    fusion = randomised(MultiHead(shapes, hidden=4, heads=2, join=join, norm="modality"))
    stages, (first, second) = branches(2)
    second = second[:, :4]
    assert isinstance(fusion.projections[1], torch.nn.Identity)
    x = torch.stack([linear(fusion.projections[0], first), second], 1)
    x = by_modality(fusion.before, x).clamp_min(0)
    y, _ = torch.nn.functional.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3,
        4,
        2,
        fusion.attention.in_proj_weight,
        fusion.attention.in_proj_bias,
        None,
        None,
        False,
        0.0,
        fusion.attention.out_proj.weight,
        fusion.attention.out_proj.bias,
    )
    y = by_modality(fusion.behind, y.transpose(0, 1))
    z = torch.cat([y[:, 0], y[:, 1]], 1) if join == "concat" else y[:, 0] + y[:, 1]
    expected = linear(fusion.head[1], z).clamp_min(0)
    torch.testing.assert_close(fusion.after(stages, [first, second])[1], expected)


def test_guided_as_its_author_has_it() -> None:
    fusion = randomised(Guided(PAIR, hidden=WIDTH, norm="none", attention_dropout=0.2, attended="relu"))
    stages, embeddings = branches(2)
    fusion.eval()
    x = [h.clamp_min(0) for h in embeddings]
    auxiliary = mixed(shares(torch.cat([linear(fusion.score, one) for one in x], 1)), x)
    rows = torch.stack(x, 1)
    attention = torch.nn.MultiheadAttention(WIDTH, 1, batch_first=True).double()
    parts = (fusion.query, fusion.key, fusion.value)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        attention.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        attention.out_proj.weight.copy_(fusion.output.weight)
        attention.out_proj.bias.copy_(fusion.output.bias)
    attended = attention(auxiliary[:, None], rows, rows)[0][:, 0].clamp_min(0)
    expected = linear(fusion.target[0], torch.cat([attended, auxiliary], 1)).clamp_min(0)
    _, embedding, seen = fusion.after(stages, embeddings)
    torch.testing.assert_close(embedding, expected)
    torch.testing.assert_close(seen, auxiliary)


def test_concat_with_a_hidden_layer() -> None:
    fusion = randomised(Concat(PAIR, hidden=7, dropout=0.5))
    stages, embeddings = branches(2)
    embedding = fusion.after(stages, embeddings)[1]
    torch.testing.assert_close(embedding, linear(fusion.layer[0], torch.cat(embeddings, 1)).clamp_min(0))
    assert fusion.out_shapes[0].width == 7


@pytest.mark.parametrize("sources", [1, 2, 4])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_guided_follows_its_formulas(norm: str, sources: int) -> None:
    size = 6
    fusion = randomised(Guided(alike(CHANNELS, sources, WIDTH), hidden=size, norm=norm))
    stages, embeddings = branches(sources)
    x = [normalised(p[1], linear(p[0], h)).clamp_min(0) for p, h in zip(fusion.projections, embeddings, strict=True)]
    alpha = shares(torch.cat([linear(fusion.score, one) for one in x], 1))
    auxiliary = normalised(fusion.guide[0], mixed(alpha, x)).clamp_min(0)
    query = linear(fusion.query, auxiliary)
    scores = [torch.einsum("bd,bd->b", query, linear(fusion.key, one)) / math.sqrt(size) for one in x]
    attention = shares(torch.stack(scores, 1))
    attended = linear(fusion.output, mixed(attention, [linear(fusion.value, one) for one in x]))
    expected = linear(fusion.target[0], torch.cat([attended, auxiliary], 1)).clamp_min(0)
    maps, embedding, seen = fusion.after(stages, embeddings)
    torch.testing.assert_close(embedding, expected)
    torch.testing.assert_close(seen, auxiliary)
    assert seen.shape == (ROWS, fusion.auxiliary_width)
    for index, joined in enumerate(maps):
        torch.testing.assert_close(joined, mixed(attention, [branch[index] for branch in stages]))


def rows_are_one_of(found: Tensor, kept: Tensor, dropped: Tensor) -> None:
    """Each row is that of a kept attention weight, twice as large, or of a dropped one; and both are there."""
    is_kept, is_dropped = ((found - one).abs().amax(1) < 1e-9 for one in (kept, dropped))
    assert (is_kept | is_dropped).all()
    assert is_kept.any()
    assert is_dropped.any()


@pytest.mark.parametrize("attended", ["linear", "relu"])
def test_guided_drops_attention_weights_in_training_alone(attended: str) -> None:
    torch.manual_seed(0)
    fusion = Guided(alike(CHANNELS, 1, WIDTH), norm="layer", dropout=0.0, attention_dropout=0.5, attended=attended)
    fusion = fusion.double()
    stages, embeddings = branches(1, rows=64)
    x = fusion.projections[0](embeddings[0])

    def joined(value: Tensor) -> Tensor:
        """With one source its weight is 1: what is left of W_V x decides."""
        own = linear(fusion.output, value)
        own = own.clamp_min(0) if attended == "relu" else own
        return fusion.target(torch.cat([own, fusion.guide(x)], 1))

    value = linear(fusion.value, x)
    rows_are_one_of(fusion.train().after(stages, embeddings)[1], joined(2 * value), joined(0 * value))
    torch.testing.assert_close(fusion.eval().after(stages, embeddings)[1], joined(value))


def test_multihead_drops_attention_weights_in_training_alone() -> None:
    torch.manual_seed(0)
    one = alike(CHANNELS, 1, WIDTH)
    fusion = MultiHead(one, heads=1, norm="layer", dropout=0.0, attention_dropout=0.5).double()
    stages, embeddings = branches(1, rows=64)
    x = linear(fusion.projections[0], embeddings[0]).clamp_min(0)
    weight, bias = (part.chunk(3)[2] for part in (fusion.attention.in_proj_weight, fusion.attention.in_proj_bias))
    value = torch.einsum("oi,bi->bo", weight, x) + bias

    def joined(share: float) -> Tensor:
        return fusion.head(linear(fusion.attention.out_proj, share * value))

    rows_are_one_of(fusion.train().after(stages, embeddings)[1], joined(2.0), joined(0.0))
    torch.testing.assert_close(fusion.eval().after(stages, embeddings)[1], joined(1.0))


@pytest.mark.parametrize("kind", [MultiHead, Guided])
def test_batchnorm_says_so_and_takes_a_batch_of_one(kind) -> None:
    stages, embeddings = branches(2)
    one = [tuple(m[:1] for m in branch) for branch in stages], [h[:1] for h in embeddings]
    for norm, declared in (("batch", "batch"), ("layer", "sample")):
        still = {"dropout": 0.0, "attention_dropout": 0.0} if kind is MultiHead else {"dropout": 0.0}
        fusion = kind(PAIR, norm=norm, **still).double()
        assert fusion.normalisation == declared
        fusion.train().after(stages, embeddings)
        alone = fusion.after(*one)[1]
        torch.testing.assert_close(alone, fusion.eval().after(*one)[1])
        assert alone.isfinite().all()


def test_the_published_widths_are_the_defaults() -> None:
    mat = MultiHead(alike((96, 192, 384, 768), 2, 768))
    assert mat.out_shapes[0].width == 128
    assert (mat.attention.num_heads, mat.head[2].p, mat.attention.dropout) == (2, 0.4, 0.4)
    assert mat.head[3].in_features == 256
    mumu = Guided(alike((96, 192, 384, 768), 2, 768))
    assert (mumu.out_shapes[0].width, mumu.auxiliary_width, mumu.guide[2].p) == (128, 128, 0.4)


@pytest.mark.parametrize("score", ["tanh", "linear"])
def test_attention_gives_a_source_that_scores_high_the_word(score: str) -> None:
    fusion = Attention(PAIR, score=score).double()
    stages, embeddings = branches(2)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.fill_(5.0)
    embeddings = [torch.full_like(embeddings[0], -3.0), torch.full_like(embeddings[1], 3.0)]
    torch.testing.assert_close(fusion.after(stages, embeddings)[1], embeddings[1])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Attention(PAIR, score="tan"), "did you mean 'tanh'"),
        (
            lambda: Attention(PAIR, score="linear", hidden=4),
            "the linear score has no hidden layer",
        ),
        (lambda: Attention(PAIR, hidden=0), "hidden = 0, expected a positive width"),
        (lambda: MultiHead(PAIR, hidden=9), "2 heads do not divide the hidden width 9"),
        (lambda: MultiHead(PAIR, heads=0), "0 heads do not divide"),
        (lambda: MultiHead(PAIR, join="concatenate"), "unknown join of multihead 'concatenate'"),
        (lambda: MultiHead(PAIR, dropout=1.0), r"dropout = 1.0, expected a number in \[0, 1\)"),
        (
            lambda: MultiHead(PAIR, norm="bacth"),
            "unknown norm of multihead 'bacth'; did you mean 'batch'",
        ),
        (
            lambda: MultiHead(PAIR, attention_dropout=-1),
            "attention_dropout = -1, expected a number",
        ),
        (lambda: Guided(PAIR, norm="group"), "unknown norm of guided 'group'"),
        (lambda: Guided(PAIR, attended="tanh"), "unknown attended of guided 'tanh'"),
        (lambda: Concat(PAIR, dropout=0.5), "dropout = 0.5 has no effect without hidden"),
        (lambda: Concat(PAIR, hidden=0), "concat: hidden = 0"),
        (lambda: Guided(PAIR, hidden=0), "hidden = 0, expected a positive width"),
        (lambda: Guided(PAIR, dropout=-0.1), "dropout = -0.1"),
        (lambda: Guided(PAIR, attention_dropout=1.0), "attention_dropout = 1.0"),
    ],
)
def test_a_wrong_parameter_is_refused(build, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build()
