"""Random choices without a random generator."""

from __future__ import annotations

import torch

from kdbench.losses.draws import priorities


def _at(count: int, rows: torch.Tensor, columns: int) -> torch.Tensor:
    return priorities(torch.tensor(count), rows, columns)


def test_a_row_keeps_its_choice_wherever_it_stands_in_the_batch() -> None:
    rows = torch.tensor([7, 3, 12])
    assert _at(5, rows.flip(0), 40).equal(_at(5, rows, 40).flip(0))


def test_counter_and_row_change_the_choice() -> None:
    chosen = [_at(count, torch.arange(4), 100).topk(5).indices for count in range(3)]
    assert not chosen[0].equal(chosen[1])
    assert not chosen[1].equal(chosen[2])
    assert not chosen[0][0].equal(chosen[0][1])


def test_every_column_is_chosen_equally_often() -> None:
    columns, draws = 20, 400
    picks = torch.cat([_at(count, torch.arange(50), columns).topk(3).indices.flatten() for count in range(draws)])
    counts = torch.bincount(picks, minlength=columns).double()
    expected = 50 * draws * 3 / columns
    # Chi-square with 19 degrees of freedom: 43.8 is its 99.9 % quantile.
    assert ((counts - expected) ** 2 / expected).sum() < 43.8


def test_numbers_stay_in_32_bits_for_any_counter() -> None:
    drawn = _at(2**40, torch.tensor([2**31]), 1000)
    assert drawn.min() >= 0
    assert drawn.max() < 2**32
    assert len(drawn.unique()) == 1000
