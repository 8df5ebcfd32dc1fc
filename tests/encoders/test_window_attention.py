"""Fused window attention against torchvision's, which it takes the place of."""

from __future__ import annotations

import copy

import pytest
import torch
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

from kdbench.encoders.window_attention import with_fused_attention


@pytest.mark.parametrize(
    ("window", "shift", "size"),
    [
        ((4, 3, 3), (2, 1, 1), (8, 6, 6)),
        ((4, 3, 3), (0, 0, 0), (8, 6, 6)),
        # Padded in every direction; smaller than the window in one, which is then not shifted.
        ((4, 3, 3), (2, 1, 1), (5, 7, 2)),
        ((4, 3, 3), (2, 1, 1), (3, 2, 2)),
    ],
)
def test_values_and_gradients_are_torchvisions(
    window: tuple[int, ...], shift: tuple[int, ...], size: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    theirs = ShiftedWindowAttention3d(12, list(window), list(shift), 3).double()
    ours = with_fused_attention(copy.deepcopy(theirs))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(2, *size, 12, dtype=torch.double, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    expected, found = theirs(x), ours(same)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    slope = torch.randn_like(expected)
    expected.backward(slope)
    found.backward(slope)
    assert same.grad is not None
    torch.testing.assert_close(same.grad, x.grad, rtol=1e-10, atol=1e-12)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad, rtol=1e-10, atol=1e-11)
    # The mask is kept; another size has its own.
    torch.testing.assert_close(ours(same), expected, rtol=1e-10, atol=1e-12)
    larger = torch.randn(1, *(2 * n for n in size), 12, dtype=torch.double)
    torch.testing.assert_close(ours(larger), theirs(larger), rtol=1e-10, atol=1e-12)


def test_weights_of_attention_are_dropped_in_training_alone() -> None:
    module = with_fused_attention(ShiftedWindowAttention3d(12, [2, 2, 2], [1, 1, 1], 3, attention_dropout=0.5))
    x = torch.randn(1, 4, 4, 4, 12)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))
