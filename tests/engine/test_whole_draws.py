"""Random draws on a share of a batch are those of the whole batch."""

from __future__ import annotations

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torchvision.ops import StochasticDepth

from kdbench.errors import UsageError
from kdbench.network.draws import WholeDraws
from kdbench.network.sharing import Processes

ROWS = 7


class Crossed(nn.Module):
    """Dropout of a tensor whose rows do not come first in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x.transpose(0, 1).contiguous().transpose(0, 1), 0.5)


class Windows(nn.Module):
    """Dropout of several entries a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x.flatten(0, 1), 0.5).unflatten(0, (len(x), -1))


class Places(nn.Module):
    """What `frames` draws: a place in each segment."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rand((len(x), 1, 1))


@pytest.mark.parametrize(
    "module",
    [
        nn.Dropout(0.5),
        nn.Dropout1d(0.5),
        DropPath(0.5),
        StochasticDepth(0.5, "row"),
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True),
        Crossed(),
        Windows(),
        Places(),
    ],
    ids=lambda module: type(module).__name__,
)
@pytest.mark.parametrize("count", [2, 3])
def test_a_share_draws_what_the_whole_batch_does(module: nn.Module, count: int) -> None:
    module = module.train()
    x = torch.randn(ROWS, 6, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    whole, behind = module(x), torch.rand(3)
    shares = [Processes(rank, count).share_of(ROWS) for rank in range(count)]
    assert [share.size for share in shares if share] == [ROWS // count + (rank < ROWS % count) for rank in range(count)]
    for share in shares:
        assert share is not None
        torch.manual_seed(1)
        with WholeDraws(ROWS, share.own):
            part = module(x[share.own])
        torch.testing.assert_close(part, whole[share.own], rtol=1e-5, atol=1e-6)
        # The generator has moved on as far.
        assert torch.equal(torch.rand(3), behind)


@pytest.mark.parametrize(
    ("module", "match"),
    [
        (nn.LSTM(8, 8, num_layers=2, dropout=0.5, batch_first=True), "the first axis is not that of the trials"),
        (nn.RReLU(), "draws at random by aten::rrelu_with_noise"),
    ],
)
def test_what_cannot_be_drawn_for_the_whole_batch_is_refused(module: nn.Module, match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught, WholeDraws(ROWS, slice(0, 4)):
        module(torch.randn(4, 6, 8))
    assert "in one process" in str(caught.value)


def test_batches_of_less_than_two_trials_a_process_are_computed_whole() -> None:
    assert Processes(0, 3).share_of(5) is None
    assert Processes(2, 3).share_of(6).own == slice(4, 6)  # type: ignore[union-attr]
    assert Processes().share_of(100) is None
