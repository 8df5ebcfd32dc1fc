"""VGG-16 in five blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.encoders.vgg import VGG16
from kdbench.errors import UsageError

TINY = (3, 4, 5, 6, 7)


def test_it_has_the_thirteen_convolutions_of_the_paper() -> None:
    net = VGG16(3)
    shapes = [(m.in_channels, m.out_channels) for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [
        (3, 64),
        (64, 64),
        (64, 128),
        (128, 128),
        (128, 256),
        *[(256, 256)] * 2,
        (256, 512),
        *[(512, 512)] * 5,
    ]
    assert (net.stem_channels, net.channels, net.width) == (64, (128, 256, 512, 512), 512 * 49)
    assert net.normalisation == "sample"
    assert VGG16(3, norm="batch", widths=TINY).normalisation == "batch"


def test_the_first_block_is_the_stem_and_each_halves_the_grid() -> None:
    net = VGG16(2, widths=TINY, grid=2).eval()
    x = torch.randn(2, 2, 64, 64)
    assert net.stem(x).shape == (2, 3, 32, 32)
    maps, embedding = net(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 16, 16), (5, 8, 8), (6, 4, 4), (7, 2, 2)]
    torch.testing.assert_close(embedding, maps[-1].flatten(1))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"widths": (1, 2, 3, 4)}, "expected five positive channel counts"),
        ({"norm": "layer"}, "unknown norm of vgg16 'layer'"),
        ({"grid": 0}, "vgg16: grid = 0"),
    ],
)
def test_bad_requests_are_refused(params: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VGG16(3, **params)
