"""Windows of a series, as HAMLET and MuMu see a sensor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kdbench.encoders.windows1d import Windows1d
from kdbench.errors import UsageError


def series(samples: int = 23) -> torch.Tensor:
    return torch.randn(4, 3, samples, generator=torch.Generator().manual_seed(0))


def test_a_token_is_a_window_of_five_samples() -> None:
    net = Windows1d(3).eval()
    maps, embedding = net(series())
    assert [tuple(x.shape) for x in maps] == [(4, 32 * 5, 4), (4, 64 * 5, 4)]
    assert net.tokens(maps[-1]).shape == (4, 4, net.token_width) == (4, 4, 320)
    torch.testing.assert_close(embedding, maps[-1].mean(2))
    # Three samples are left over.
    torch.testing.assert_close(net(series()[:, :, :20])[1], embedding)


def test_a_window_sees_itself_alone_by_the_published_layers() -> None:
    net, x = Windows1d(3, norm="group").eval(), series(15)
    token = net.tokens(net(x)[0][-1])[:, 1].unflatten(1, (64, 5))
    (across, first), (along, second) = (stage[:2] for stage in net.stages)
    # Norms are of all windows of a sample, so that the others are needed for them.
    windows = x.unflatten(2, (3, 5)).transpose(1, 2).flatten(0, 1)
    mixed = torch.einsum("bcw,oc->bow", windows, across.weight[:, :, 0, 0]) + across.bias[:, None]
    hidden = first(mixed.unflatten(0, (4, 3)).permute(0, 2, 3, 1)).relu()
    flat = hidden.permute(0, 3, 1, 2).flatten(0, 1)
    filtered = F.conv1d(flat, along.weight[..., 0], along.bias, padding=1)
    expected = second(filtered.unflatten(0, (4, 3)).permute(0, 2, 3, 1)).relu()[..., 1]
    torch.testing.assert_close(token, expected)


def test_windows_do_not_mix_once_norms_are_fixed() -> None:
    net, x = Windows1d(3).eval(), series(15)
    changed = x.clone()
    changed[:, :, 5:10] += 1
    moved = (net.tokens(net(changed)[0][-1]) - net.tokens(net(x)[0][-1])).abs().amax((0, 2))
    assert moved[1] > 0
    assert moved[[0, 2]].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"widths": (8,)}, "expected two positive channel counts"),
        ({"window": 0}, "window = 0: expected a whole number of samples"),
        ({"norm": "layer"}, "norm of a convolutional encoder"),
    ],
)
def test_settings_that_make_no_windows_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Windows1d(3, **params)


def test_a_series_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(UsageError, match="windows of 5 samples and got a series of 4") as caught:
        Windows1d(3).eval()(series(4))
    assert "--set data.series_length=80" in str(caught.value.hint)
