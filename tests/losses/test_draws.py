"""Random choices without a random generator."""

from __future__ import annotations

import pytest
import torch

from kdbench.losses.draws import normals, priorities


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


def test_normal_numbers_have_the_moments_of_their_distribution_and_no_neighbours_in_common() -> None:
    drawn = normals(torch.tensor(3), torch.arange(200), 500).double()
    assert drawn.shape == (200, 500)
    assert drawn.isfinite().all()
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        # Standard errors of the first four moments: 1, sqrt(2), sqrt(15) and sqrt(96) over the root of the count.
        bound = 4 * (1, 2, 15, 96)[power - 1] ** 0.5 / drawn.numel() ** 0.5
        assert abs(drawn.pow(power).mean() - moment) < bound
    for pairs in ((drawn[:, 1:], drawn[:, :-1]), (drawn[1:], drawn[:-1])):
        assert abs((pairs[0] * pairs[1]).mean()) < 4 / pairs[0].numel() ** 0.5
    assert normals(torch.tensor(3), torch.tensor([7, 5]), 500).equal(drawn[[7, 5]].float())


@pytest.mark.parametrize("drawn", [0, 2**32 - 1])
def test_the_rarest_draws_are_finite_too(drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kdbench.losses.draws.priorities", lambda _, rows, columns: torch.full((len(rows), columns), drawn)
    )
    assert normals(torch.tensor(0), torch.arange(2), 3).isfinite().all()
