"""A good teacher passes the test against chance at any size; one that knows nothing fails wherever that can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.engine.chance import above_chance


@pytest.mark.parametrize("classes", [1, 2, 3, 5, 27])
@pytest.mark.parametrize("count", [1, 2, 4, 8, 10, 12, 20, 40, 100, 1000])
def test_a_perfect_teacher_is_never_refused(count: int, classes: int) -> None:
    most = -(-count // classes)
    assert above_chance(count, count, most) != "no"


@pytest.mark.parametrize(("count", "most"), [(8, 4), (10, 5), (12, 6), (30, 28), (100, 97)])
def test_nine_in_ten_right_are_not_refused_where_few_trials_cannot_tell(count: int, most: int) -> None:
    assert above_chance(max(most + 1, round(0.9 * count)), count, most) == "unclear"


@pytest.mark.parametrize(
    ("correct", "count", "most", "verdict"),
    [
        (8, 8, 4, "unclear"),
        (4, 8, 4, "no"),
        (10, 10, 5, "yes"),
        (52, 100, 50, "no"),
        (70, 100, 50, "yes"),
        (20, 431, 16, "no"),
        (60, 431, 16, "yes"),
        (5, 5, 5, "unclear"),
        (97, 100, 97, "no"),
    ],
)
def test_verdicts_at_known_counts(correct: int, count: int, most: int, verdict: str) -> None:
    assert above_chance(correct, count, most) == verdict


def test_a_teacher_that_guesses_is_taken_for_good_once_in_a_thousand() -> None:
    right = np.random.default_rng(0).binomial(216, 1 / 27, size=20_000)
    verdicts = [above_chance(int(each), 216, 8) for each in np.unique(right)]
    share = sum(np.sum(right == each) for each, said in zip(np.unique(right), verdicts, strict=True) if said == "yes")
    assert "unclear" not in verdicts
    assert share / len(right) < 1.5e-3
