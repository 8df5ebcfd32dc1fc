from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.layers.recurrent import Recurrent

B, S, D, H = 3, 7, 5, 4


def tokens(seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(B, S, D, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def as_one(stack: Recurrent, bidirectional: bool) -> nn.LSTM:
    """The weights of a stack in one LSTM of torch."""
    whole = nn.LSTM(D, H, len(stack.layers), batch_first=True, bidirectional=bidirectional).double()
    for number, layer in enumerate(stack.layers):
        for name, value in layer.state_dict().items():
            getattr(whole, name.replace("_l0", f"_l{number}")).data.copy_(value)
    return whole


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_stack_is_torchs_lstm_of_several_layers(layers: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    stack = Recurrent(D, H, layers=layers, bidirectional=bidirectional).double()
    outputs, last = stack(tokens())
    expected, (ends, _) = as_one(stack, bidirectional)(tokens())
    torch.testing.assert_close(outputs, expected)
    directions = 2 if bidirectional else 1
    torch.testing.assert_close(last, torch.cat(list(ends[-directions:]), 1))
    assert outputs.shape == (B, S, stack.out_width)


def test_each_direction_ends_at_its_own_end() -> None:
    torch.manual_seed(0)
    outputs, last = Recurrent(D, H, bidirectional=True).double()(tokens())
    torch.testing.assert_close(last, torch.cat([outputs[:, -1, :H], outputs[:, 0, H:]], 1))


def test_autocast_changes_nothing() -> None:
    torch.manual_seed(0)
    stack, x = Recurrent(D, H, layers=2), tokens(dtype=torch.float32)
    plain, _ = stack(x)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = stack(x)
        halved, _ = stack(x.bfloat16())
    assert torch.equal(plain, inside)
    assert halved.dtype == torch.float32


def test_dropout_stands_between_layers_and_follows_torchs_seed() -> None:
    torch.manual_seed(0)
    one, two = Recurrent(D, H, dropout=0.5).double(), Recurrent(D, H, layers=2, dropout=0.5).double()
    assert torch.equal(one.train()(tokens())[0], one.eval()(tokens())[0])
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(two.train()(tokens())[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], two.eval()(tokens())[0])


@pytest.mark.slow
def test_it_compiles_with_a_break_in_the_graph() -> None:
    torch.manual_seed(0)
    stack = Recurrent(D, H, layers=2)
    x = tokens(dtype=torch.float32)
    torch.testing.assert_close(torch.compile(stack, backend="aot_eager")(x)[0], stack(x)[0])


@pytest.mark.gpu
@pytest.mark.parametrize("training", [True, False])
def test_a_gradient_comes_back_on_a_gpu_in_any_mode(training: bool) -> None:
    torch.manual_seed(0)
    stack, x = Recurrent(D, H, layers=2).train(training), tokens(dtype=torch.float32)
    alone = x.clone().requires_grad_()
    stack(alone)[1].square().sum().backward()
    there = x.cuda().requires_grad_()
    stack.cuda()(there)[1].square().sum().backward()
    torch.testing.assert_close(there.grad.cpu(), alone.grad, rtol=1e-3, atol=1e-4)
