"""Rank correlations of two tables."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.errors import DataError, UsageError
from kdbench.statistics import rank_agreement


def test_the_coefficients_are_those_of_the_textbook() -> None:
    # Five of six in the same order, the last two swapped: ρ = 1 − 6·2/(6·35), τ = (14 − 1)/15.
    found = rank_agreement([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5])
    assert found.methods == 6
    assert found.spearman == pytest.approx(1 - 12 / 210)
    assert found.kendall == pytest.approx(13 / 15)
    # atanh(33/35) ± 1.96 √((1 + ρ²/2)/3), by hand.
    assert found.spearman_interval.low == pytest.approx(np.tanh(np.arctanh(33 / 35) - 1.959964 * 0.693900), abs=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_order_is_no_proof_that_it_always_is(sign: int) -> None:
    order = np.arange(8.0)
    found = rank_agreement(order, sign * order)
    assert found.spearman == pytest.approx(sign)
    for interval in (found.spearman_interval, found.kendall_interval):
        inner, outer = (interval.low, interval.high) if sign > 0 else (interval.high, interval.low)
        assert outer == pytest.approx(sign)
        assert 0.5 < sign * inner < 0.99


@pytest.mark.parametrize("count", [8, 20])
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_the_intervals_hold_the_true_coefficient_often_enough(count: int, correlation: float) -> None:
    random = np.random.default_rng(count)
    true = {"spearman": 6 / np.pi * np.arcsin(correlation / 2), "kendall": 2 / np.pi * np.arcsin(correlation)}
    covered = dict.fromkeys(true, 0)
    draws = 400
    for _ in range(draws):
        a, noise = random.normal(size=(2, count))
        found = rank_agreement(a, correlation * a + np.sqrt(1 - correlation**2) * noise)
        for name, value in true.items():
            interval = getattr(found, f"{name}_interval")
            covered[name] += interval.low <= value <= interval.high
    assert all(share / draws >= 0.92 for share in covered.values()), covered


@pytest.mark.parametrize(
    ("first", "second", "error", "text"),
    [
        ([1, 2, 3], [1, 2, 3], UsageError, "3 methods are too few"),
        ([1, 2], [1, 2, 3], UsageError, "expected two lists of the same methods"),
        ([1] * 6, [1, 2, 3, 4, 5, 6], DataError, "no order to compare"),
        ([1, 2, 3, 4, 5, np.nan], [1, 2, 3, 4, 5, 6], DataError, "not finite"),
    ],
)
def test_what_has_no_order_is_refused(first: list[float], second: list[float], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        rank_agreement(first, second)
