"""Depthwise separable convolutions."""

from __future__ import annotations

import torch

from kdbench.encoders.conv import Conv1d
from kdbench.encoders.separable import Separable1d


def test_it_halves_the_grid_four_times() -> None:
    maps, embedding = Separable1d(3).eval()(torch.randn(2, 3, 64))
    assert [tuple(x.shape) for x in maps] == [(2, 64, 32), (2, 128, 16), (2, 128, 8), (2, 256, 4)]
    assert embedding.shape == (2, 256)


def test_a_stage_filters_each_channel_and_then_mixes_them() -> None:
    net = Separable1d(2, widths=(3, 3, 3, 3), norm="group").eval()
    depthwise, pointwise, norm, _ = net.stages[0]
    x = torch.randn(4, 2, 20)
    padded = torch.nn.functional.pad(x, (2, 2)).unfold(2, 5, 2)
    filtered = torch.einsum("bcnk,ck->bcn", padded, depthwise.weight[:, 0])
    mixed = torch.einsum("oc,bcn->bon", pointwise.weight[:, :, 0], filtered)
    torch.testing.assert_close(net.stage(0, net.stem(x)), norm(mixed).relu())


def test_it_is_smaller_than_a_net_of_whole_convolutions_of_its_widths() -> None:
    def size(net: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in net.parameters())

    assert 5 * size(Separable1d(3)) < size(Conv1d(3, widths=(64, 128, 128, 256)))
