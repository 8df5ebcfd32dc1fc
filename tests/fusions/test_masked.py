"""A masked autoencoder over the tokens of branches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdbench.encoders.conv import Conv1d
from kdbench.errors import UsageError
from kdbench.fusions.base import Shape
from kdbench.fusions.masked import Masked, squared_errors
from kdbench.network import Branch, Network
from kdbench.representations.raw import Raw

SHAPES = (Shape("body", (2, 2), 4), Shape("wrist", (2, 2), 8), Shape("depth", (3, 3), 6, "clip"))
SMALL = {"width": 8, "heads": 2, "memory": 3, "depth": 1}
NAMES = ("accelerometer", "gyroscope", "orientation")


def made(**changes: object) -> Masked:
    torch.manual_seed(0)
    return Masked(SHAPES, **{**SMALL, **changes})


def embeddings(rows: int = 5) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(rows, shape.width) for shape in SHAPES]


def network() -> Network:
    torch.manual_seed(0)
    branches = {
        name: Branch(name, Raw(3, statistics=((0.0,), (1.0,))), Conv1d(3, widths=(4, 4, 4, 8))) for name in NAMES
    }
    shapes = [Shape(name, (4, 4, 4, 8), 8) for name in NAMES]
    return Network(branches, Masked(shapes, **SMALL), classes=4, semantic=None).eval()


def test_each_branch_becomes_a_token_and_the_rebuilt_ones_lie_side_by_side() -> None:
    fusion = made().eval()
    maps, joined, seen, errors = fusion.after([(), (), ()], embeddings())
    assert maps == ()
    assert joined.shape == seen.shape == (5, 3 * 8)
    assert fusion.out_shapes[0].width == 3 * 8
    # A branch of the tokens' width is one as it is.
    assert [isinstance(layer, torch.nn.Linear) for layer in fusion.tokens] == [True, False, True]
    assert not errors.any()


def test_a_missing_branch_is_told_from_the_others_and_from_nothing_of_its_own() -> None:
    fusion = made().eval()
    given = embeddings()
    present = torch.tensor([[True, False, True]]).expand(5, -1)
    _, joined, *_ = fusion.after([(), (), ()], given, present)
    _, other, *_ = fusion.after([(), (), ()], [given[0], given[1] + 7, given[2]], present)
    torch.testing.assert_close(joined, other)
    _, moved, *_ = fusion.after([(), (), ()], [given[0] + 1, given[1], given[2]], present)
    # Its token depends on what is there.
    assert not torch.allclose(joined.chunk(3, 1)[1], moved.chunk(3, 1)[1])
    _, whole, *_ = fusion.after([(), (), ()], given)
    assert not torch.allclose(joined, whole)


def test_where_all_are_missing_it_still_says_something() -> None:
    fusion = made().train()
    _, joined, _, errors = fusion.after([(), (), ()], embeddings(), torch.zeros(5, 3, dtype=torch.bool))
    assert joined.isfinite().all()
    assert not errors.any()


def test_training_keeps_a_random_number_of_tokens_and_never_none() -> None:
    fusion = made().train()
    torch.manual_seed(2)
    kept = 3 - fusion.taken(torch.ones(6000, 3, dtype=torch.bool)).sum(1)
    shares = torch.bincount(kept, minlength=4) / len(kept)
    torch.testing.assert_close(shares, torch.tensor([0, 1 / 3, 1 / 3, 1 / 3]), atol=0.03, rtol=0)
    # Each of the branches as often as another.
    taken = fusion.taken(torch.ones(6000, 3, dtype=torch.bool)).float().mean(0)
    torch.testing.assert_close(taken, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_of_those_that_are_there_one_stays_and_what_is_missing_is_not_taken() -> None:
    fusion = made().train()
    present = torch.tensor([[True, False, True]]).expand(4000, -1)
    taken = fusion.taken(present)
    assert not taken[:, 1].any()
    assert (taken.sum(1) <= 1).all()
    torch.testing.assert_close(taken.sum(1).float().mean(), torch.tensor(0.5), atol=0.04, rtol=0)
    assert not made(drop_tokens=0.0).train().taken(present).any()
    assert not made().eval().taken(present).any()
    some = made(drop_tokens=0.3).train().taken(torch.ones(6000, 3, dtype=torch.bool)).any(1)
    torch.testing.assert_close(some.float().mean(), torch.tensor(0.3 * 2 / 3), atol=0.03, rtol=0)


def test_errors_are_those_of_standardised_tokens() -> None:
    rebuilt, tokens = torch.randn(2, 3, 8), 5 + 2 * torch.randn(2, 3, 8)
    standard = (tokens - tokens.mean(-1, keepdim=True)) / tokens.std(-1, keepdim=True)
    torch.testing.assert_close(
        squared_errors(rebuilt, tokens), (rebuilt - standard).square().mean(-1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("live", [False, True])
def test_the_true_tokens_get_a_gradient_where_that_is_asked_for(live: bool) -> None:
    fusion = made(live_targets=live).train()
    given = [x.repeat(20, 1).requires_grad_() for x in embeddings()]
    torch.manual_seed(3)
    *_, errors = fusion.after([(), (), ()], given)
    taken = errors.detach() > 0
    errors.sum().backward()
    # What was taken away is read by nothing else.
    alone = taken[:, 0] & ~taken[:, 1] & ~taken[:, 2]
    assert alone.any()
    assert bool(given[0].grad[alone].any()) == live
    assert given[1].grad[alone].any()


def test_a_source_of_zeros_is_missing() -> None:
    whole = network()
    torch.manual_seed(4)
    inputs = [torch.randn(3, 3, 32) for _ in NAMES]
    with torch.no_grad():
        lacking = whole(whole.lacking(inputs, {"gyroscope"}))[0]
        # The encoder of what is missing could say anything.
        whole.encoders[1] = Conv1d(3, widths=(4, 4, 4, 8)).eval()
        torch.testing.assert_close(whole(whole.lacking(inputs, {"gyroscope"}))[0].logits, lacking.logits)
        assert not torch.allclose(whole(inputs)[0].logits, lacking.logits)
    assert lacking.token_errors.shape == (3, 3)
    assert whole.widths[0].token_errors == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 1}, "masked: width = 1, expected a whole number from 2"),
        ({"memory": 0}, "masked: memory = 0, expected a whole number from 1"),
        ({"depth": 0}, "masked: depth = 0"),
        ({"heads": 3}, "masked: 3 heads do not divide the width 8: expected 1, 2, 4, 8"),
        ({"drop_tokens": 1.5}, "masked: drop_tokens = 1.5, expected a share"),
    ],
)
def test_a_bad_parameter_is_told(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        made(**changes)
