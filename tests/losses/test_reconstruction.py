"""Reconstruction of tokens that were taken away."""

from __future__ import annotations

import pytest
import torch
from helpers import WORLD
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.fusions.masked import squared_errors
from kdbench.losses.reconstruction import Reconstruction
from kdbench.runs.ahead import check_parts
from kdbench.runs.context import context_for
from kdbench.runs.request import RunRequest
from kdbench.types import Context, Widths


def loss_of(errors: Tensor) -> Tensor:
    widths = Widths(4, (8, 8), 8, token_errors=errors.shape[1])
    return Reconstruction(Context(4, widths))(errors)


def test_it_is_the_mean_over_what_was_taken_away() -> None:
    errors = torch.tensor([[0.0, 2.0, 4.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], requires_grad=True)
    value = loss_of(errors)
    assert value.item() == 3.0
    value.backward()
    torch.testing.assert_close(errors.grad, torch.full((3, 3), 1 / 3))


def test_it_has_the_value_of_the_authors_code() -> None:
    # Of sangminwoo/ActionMAE's loss on these tokens, in float64, with the targets standardised.
    numbers = torch.arange(24, dtype=torch.float64).reshape(2, 3, 4)
    tokens, rebuilt = 3 * (0.7 * numbers).sin() + 1, (1.3 * numbers).cos()
    taken = torch.tensor([[False, True, True], [True, False, False]])
    value = loss_of(squared_errors(rebuilt, tokens) * taken)
    assert value.item() == pytest.approx(1.2810131893260255, rel=1e-9)


def test_it_needs_the_whole_batch_at_once() -> None:
    changes = [*WORLD, "student.train.accumulate=2"]
    context = context_for(RunRequest("actionmae", "motionsim", preset="smoke", overrides=changes, device="cpu"))
    with pytest.raises(UsageError, match=r"student\.losses\.reconstruction needs the whole batch at once"):
        check_parts(context)


def test_where_nothing_was_taken_away_there_is_no_loss() -> None:
    assert loss_of(torch.zeros(4, 2)).item() == 0


def test_a_network_that_rebuilds_nothing_is_refused() -> None:
    request = RunRequest(
        "student_only", "motionsim", preset="smoke", overrides=["student.losses.reconstruction.weight=1"]
    )
    context = context_for(request)
    with pytest.raises(UsageError, match=r"student\.losses\.reconstruction reads 'token_errors', and the") as caught:
        check_parts(context)
    assert caught.value.hint == "Build the network with a fusion that rebuilds tokens: fusion: {name: masked}."


def test_a_network_of_one_branch_has_nothing_to_rebuild() -> None:
    changes = ["student.losses.reconstruction.weight=1", "student.fusion={name: masked, width: 16, heads: 2}"]
    context = context_for(RunRequest("student_only", "motionsim", preset="smoke", overrides=changes, device="cpu"))
    with pytest.raises(UsageError, match="reconstruction has nothing to rebuild: the network in training has one"):
        check_parts(context)
