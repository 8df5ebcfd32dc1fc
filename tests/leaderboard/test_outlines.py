"""Outlines of logits: no copy is missed, and few others have to be looked at."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.leaderboard.copies import METHODS_ALIKE, alike
from kdbench.leaderboard.outline import close, outline, unit


@pytest.mark.parametrize(("trials", "classes"), [(430, 27), (8, 3), (2, 2)])
def test_every_copy_is_among_the_pairs(trials: int, classes: int) -> None:
    draw = np.random.default_rng(0)
    runs = [draw.normal(size=(trials, classes)).astype(np.float32) for _ in range(90)]
    near = [run + draw.normal(scale=1e-3, size=run.shape).astype(np.float32) for run in runs[:5]]
    runs += [3 * run + 1 for run in near] + [np.zeros((trials, classes), np.float32)] * 2
    copies = {(one, 90 + one) for one in range(5)} | {(95, 96)}
    true = {
        (one, other)
        for one in range(len(runs))
        for other in range(one + 1, len(runs))
        if alike(runs[one], runs[other], METHODS_ALIKE)
    }
    pairs = {tuple(pair) for pair in close(np.stack([outline(unit(run)) for run in runs]), METHODS_ALIKE).tolist()}
    assert copies <= true <= pairs
    if trials == 430:
        assert pairs == true


def test_of_one_run_there_is_no_pair() -> None:
    assert close(np.zeros((1, 4), np.float32), METHODS_ALIKE).shape == (0, 2)
