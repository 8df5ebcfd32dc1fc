"""Plain convolutions over a series, as of MMAct's teachers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kdbench.encoders.cnn1d import Cnn1d
from kdbench.errors import UsageError


def series(samples: int = 41) -> torch.Tensor:
    return torch.randn(3, 2, samples, generator=torch.Generator().manual_seed(0))


def test_published_widths_are_the_defaults() -> None:
    net = Cnn1d(2).eval()
    maps, embedding = net(series())
    assert [tuple(x.shape) for x in maps] == [(3, 64, 20), (3, 128, 10), (3, 256, 5)]
    assert (net.channels, net.width, tuple(embedding.shape)) == ((64, 128, 256), 256, (3, 256))
    assert net.normalisation == "batch"
    torch.testing.assert_close(embedding, maps[-1].mean(2))


def test_a_stage_is_convolution_norm_relu_and_the_largest_of_two() -> None:
    net, x = Cnn1d(2, widths=(3,), norm="group").eval(), series(10)
    convolution, norm = net.stages[0][:2]
    windows = F.pad(x, (2, 2)).unfold(2, 5, 1)
    scores = norm(torch.einsum("bcnk,ock->bon", windows, convolution.weight) + convolution.bias[:, None]).relu()
    torch.testing.assert_close(net.stage(0, net.stem(x)), scores.unflatten(2, (5, 2)).amax(3))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"widths": ()}, "widths = "),
        ({"widths": (8, 0)}, "expected one to four positive channel counts"),
        ({"kernel": 4}, "kernel = 4: expected an odd number"),
        ({"norm": "layer"}, "norm of a convolutional encoder"),
    ],
)
def test_bad_settings_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Cnn1d(2, **params)


def test_a_series_of_which_nothing_is_left_is_refused() -> None:
    net = Cnn1d(2).eval()
    assert net(series(8))[1].isfinite().all()
    with pytest.raises(UsageError, match="needs series of 8 samples or more and got 7"):
        net(series(7))
