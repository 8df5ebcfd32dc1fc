"""Cost against values computed by hand."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from kdbench.recurrent import Recurrent
from kdbench.runs import cost


def test_parameters_count_shared_ones_once() -> None:
    layer = nn.Linear(3, 5)
    assert cost.parameters(nn.Sequential(layer, nn.ReLU(), nn.Linear(5, 3), nn.Linear(3, 5))) == 20 + 18 + 20
    assert cost.parameters(nn.ModuleList([layer, layer])) == 20


def test_flops_of_a_matrix_product_and_a_convolution() -> None:
    linear, convolution = nn.Linear(8, 16), nn.Conv2d(3, 4, 3, padding=1)
    assert cost.flops(lambda: linear(torch.ones(1, 8))) == 2 * 8 * 16
    assert cost.flops(lambda: convolution(torch.ones(1, 3, 10, 10))) == 2 * 100 * 4 * 3 * 9


def test_flops_of_attention_whether_or_not_torch_fuses_it() -> None:
    attention, x = nn.MultiheadAttention(32, 2, batch_first=True), torch.ones(1, 10, 32)
    expected = 4 * 2 * 10 * 32 * 32 + 2 * 2 * 10 * 10 * 32
    for mode in (True, False):
        attention.train(mode)
        assert cost.flops(lambda: attention(x, x, x, need_weights=False)) == expected
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_flops_of_an_lstm(bidirectional: bool) -> None:
    layers = Recurrent(8, 16, layers=2, bidirectional=bidirectional).eval()
    matrices = sum(parameter.numel() for parameter in layers.parameters() if parameter.dim() == 2)
    assert cost.flops(lambda: layers(torch.ones(3, 10, 8))) == 2 * 3 * 10 * matrices


def test_latency_is_the_median_of_the_calls() -> None:
    calls = iter([0.0] * 1 + [0.001, 0.001, 0.1, 0.001, 0.001])
    took = cost.latency_ms(lambda: time.sleep(next(calls)), "cpu", repeats=5)
    assert 1 <= took < 50


def test_latency_runs_without_gradients() -> None:
    seen = []
    cost.latency_ms(lambda: seen.append(torch.is_grad_enabled()), "cpu", repeats=3)
    assert seen
    assert not any(seen)


def test_peak_memory_sees_a_large_tensor_that_is_gone_again() -> None:
    before = cost.process_peak_bytes()
    with cost.PeakMemory("cpu") as memory:
        torch.ones(before // 4).sum()
    assert before < memory.peak_bytes < 3 * before
