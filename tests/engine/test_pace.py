"""How often the state of a training is written."""

from __future__ import annotations

from kdbench.engine.restoring import QUICK_SECONDS, SHARE, Pace


def test_a_state_that_is_written_quickly_is_written_after_every_epoch() -> None:
    pace = Pace()
    assert pace.is_due(0.0)
    pace.wrote(0.0, QUICK_SECONDS)
    assert pace.is_due(QUICK_SECONDS + 0.001)


def test_a_slow_one_takes_its_share_of_the_time_at_most() -> None:
    pace, now, writing = Pace(), 0.0, 0.0
    for _ in range(1000):
        now += 2.0
        if pace.is_due(now):
            pace.wrote(now, now + 3.0)
            now, writing = now + 3.0, writing + 3.0
    assert 0.8 / SHARE < writing / now < 1.05 / SHARE
