from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from kdbench.encoders.transformer1d import Transformer1d, Vit1d
from kdbench.errors import UsageError


@pytest.fixture(scope="module")
def encoder() -> Transformer1d:
    torch.manual_seed(0)
    return Transformer1d(3).eval()


def test_hands_out_four_maps_that_halve_and_an_embedding(encoder):
    maps, embedding = encoder(torch.randn(2, 3, 64))
    assert [tuple(feature.shape) for feature in maps] == [(2, 32, 16), (2, 64, 8), (2, 96, 4), (2, 128, 2)]
    assert embedding.shape == (2, 128)
    assert encoder.channels == (32, 64, 96, 128)
    assert encoder.normalisation == "sample"


@pytest.mark.parametrize("samples", [1, 5, 37, 180])
def test_takes_series_of_any_length(encoder, samples):
    maps, embedding = encoder(torch.randn(2, 3, samples))
    assert maps[0].shape[-1] == -(-samples // 4)
    assert all(after.shape[-1] == -(-before.shape[-1] // 2) for before, after in pairwise(maps))
    assert embedding.isfinite().all()


def test_sees_the_order_of_the_series(encoder):
    x = torch.randn(1, 3, 64)
    assert not torch.allclose(encoder(x)[1], encoder(x.flip(-1))[1], atol=1e-3)
    # Whole patches in another order: without positions attention would not notice within the first stage.
    swapped = x.unflatten(-1, (16, 4))[:, :, torch.arange(16) ^ 1].flatten(2)
    plain, other = encoder.stage(0, encoder.stem(x)), encoder.stage(0, encoder.stem(swapped))
    assert not torch.allclose(plain[..., torch.arange(16) ^ 1], other, atol=1e-3)


def test_rows_do_not_depend_on_one_another(encoder):
    x = torch.randn(5, 3, 64)
    torch.testing.assert_close(encoder(x)[1][2:3], encoder(x[2:3])[1], rtol=1e-4, atol=1e-5)


def test_trains_every_parameter_and_is_small():
    torch.manual_seed(0)
    encoder = Transformer1d(6)
    encoder(torch.randn(4, 6, 64))[1].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert sum(p.numel() for p in encoder.parameters()) < 600_000


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"widths": (32, 64, 96)}, "expected four positive multiples of 16"),
        ({"widths": (32, 64, 96, 100)}, "expected four positive multiples of 16"),
        ({"depths": (1, 0, 1, 1)}, "expected four positive numbers of blocks"),
        ({"patch": 0}, "patch = 0"),
    ],
)
def test_bad_settings_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        Transformer1d(3, **parameters)


def test_tokens_are_normalised_as_the_embedding_is(encoder):
    maps, embedding = encoder(torch.randn(2, 3, 64))
    torch.testing.assert_close(encoder.tokens(maps[-1]).mean(1), embedding)


# At one scale --------------------------------------------------------------------------------------------------------


def test_at_one_scale_all_maps_have_one_length():
    torch.manual_seed(0)
    encoder = Vit1d(3).eval()
    maps, embedding = encoder(torch.randn(2, 3, 64))
    assert [tuple(feature.shape) for feature in maps] == [(2, 128, 8)] * 4
    assert embedding.shape == (2, 128)
    assert encoder.isotropic
    assert not encoder.mergings


def test_at_one_scale_every_parameter_is_trained_and_the_order_seen():
    torch.manual_seed(0)
    encoder, x = Vit1d(6, depths=(1, 2, 1, 1)), torch.randn(4, 6, 61)
    assert [len(stage) for stage in encoder.blocks] == [1, 2, 1, 1]
    encoder(x)[1].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    encoder.eval()
    assert not torch.allclose(encoder(x)[1], encoder(x.flip(-1))[1], atol=1e-3)


@pytest.mark.parametrize("width", [100, 8])
def test_at_one_scale_a_width_that_heads_do_not_fill_is_refused(width):
    with pytest.raises(UsageError, match="positive multiple of 16"):
        Vit1d(3, width=width)
