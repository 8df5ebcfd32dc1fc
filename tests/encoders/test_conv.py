from __future__ import annotations

import pytest
import torch

from kdbench.encoders.conv import Conv1d, Conv2d, Conv2Plus1d
from kdbench.errors import UsageError

ENCODERS = {
    "conv1d": (Conv1d, 3, (180,), [(90,), (45,), (23,), (12,)]),
    "conv2d": (Conv2d, 3, (64, 64), [(32, 32), (16, 16), (8, 8), (4, 4)]),
    "conv2plus1d": (Conv2Plus1d, 2, (16, 64, 64), [(16, 16, 16), (16, 8, 8), (8, 4, 4), (4, 2, 2)]),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)


@every_encoder
def test_hands_out_four_maps_and_an_embedding(name):
    kind, channels, grid, grids = ENCODERS[name]
    encoder = kind(channels)
    maps, embedding = encoder(torch.randn(2, channels, *grid))
    assert [tuple(m.shape) for m in maps] == [(2, c, *g) for c, g in zip(encoder.channels, grids, strict=True)]
    assert embedding.shape == (2, encoder.width)


@every_encoder
def test_the_stages_continue_from_a_replaced_map(name):
    kind, channels, grid, _ = ENCODERS[name]
    encoder = kind(channels).eval()
    x = torch.randn(2, channels, *grid)
    maps, embedding = encoder(x)
    last = encoder.stage(3, encoder.stage(2, maps[1]))
    torch.testing.assert_close(encoder.pool(last), embedding)
    other = encoder.pool(encoder.stage(3, encoder.stage(2, 2 * maps[1].flip(1))))
    assert (other - embedding).abs().max() > 1e-4


@every_encoder
def test_every_parameter_gets_a_gradient(name):
    kind, channels, grid, _ = ENCODERS[name]
    encoder = kind(channels, widths=[8, 8, 16, 16])
    _, embedding = encoder(torch.randn(3, channels, *grid))
    embedding.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@every_encoder
@pytest.mark.parametrize(("norm", "apart"), [("group", True), ("batch", False)])
def test_says_whether_samples_are_normalised_apart(name, norm, apart):
    kind, channels, grid, _ = ENCODERS[name]
    encoder = kind(channels, norm=norm).train()
    x = torch.randn(4, channels, *grid)
    together, alone = encoder(x)[1][:2], encoder(x[:2])[1]
    assert encoder.normalisation == ("sample" if apart else "batch")
    assert torch.allclose(together, alone, atol=1e-4) is apart


@every_encoder
def test_takes_widths_and_dropout(name):
    kind, channels, grid, _ = ENCODERS[name]
    encoder = kind(channels, widths=[4, 6, 10, 7], dropout=0.5).train()
    _, embedding = encoder(torch.randn(2, channels, *grid))
    assert embedding.shape == (2, 7)
    assert (embedding == 0).any()
    assert not (encoder.eval()(torch.randn(2, channels, *grid))[1] == 0).all()


@every_encoder
@pytest.mark.parametrize("grid", [1, 5])
def test_takes_grids_smaller_than_its_strides(name, grid):
    kind, channels, dims, _ = ENCODERS[name]
    _, embedding = kind(channels)(torch.randn(2, channels, *[grid for _ in dims]))
    assert torch.isfinite(embedding).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"widths": (8, 16, 32)}, "expected four positive channel counts"),
        ({"widths": (8, 16, 32, 0)}, "expected four positive channel counts"),
        ({"norm": "grup"}, "did you mean 'group'"),
    ],
)
@every_encoder
def test_bad_parameters_are_usage_errors(name, parameters, message):
    with pytest.raises(UsageError, match=message):
        ENCODERS[name][0](3, **parameters)


@pytest.mark.parametrize(("name", "most"), [("conv1d", 0.3e6), ("conv2d", 0.3e6), ("conv2plus1d", 0.45e6)])
def test_stays_small(name, most):
    kind, channels, _, _ = ENCODERS[name]
    assert 0.1e6 < sum(p.numel() for p in kind(channels).parameters()) < most
