from __future__ import annotations

import numpy as np
import pytest

from kdbench.data.readers.timeline import centre_frames, centres, resample, showing


def test_frames_lie_at_the_centres_of_equal_parts():
    assert centre_frames(32, 32).tolist() == list(range(32))
    assert centre_frames(64, 16).tolist() == list(range(2, 64, 4))
    assert centre_frames(4, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_resampling_to_the_same_length_changes_nothing():
    series = np.random.default_rng(0).normal(size=(170, 3)).astype(np.float32)
    assert np.array_equal(resample(series, 170), series.T)


def test_two_streams_of_one_movement_meet_at_the_same_relative_time():
    slow, fast = (np.sin(2 * np.pi * centres(n))[:, None] for n in (107, 326))
    inside = slice(2, -2)
    assert np.abs(resample(slow, 64)[0, inside] - resample(fast, 64)[0, inside]).max() < 2e-3
    frames = np.sin(2 * np.pi * centres(96))[centre_frames(96, 32)]
    assert np.abs(frames - resample(fast, 32)[0]).max() < 0.02


def test_a_line_stays_a_line():
    series = np.linspace(0, 1, 200)[:, None] * [1.0, -2.0]
    steps = np.diff(resample(series, 50), axis=1)
    assert np.allclose(steps, steps[:, :1], atol=1e-6)


def frames_at(times: list[int | None], durations: list[int], count: int, **clock: int) -> list[int]:
    """Which frames are shown at the centres of equal parts."""
    shown = showing(times, durations, **clock)
    return shown.frames(centre_frames(shown.parts, count)).tolist()


@pytest.mark.parametrize(
    ("times", "durations", "expected"),
    [
        ([0, 10, 20, 30], [10] * 4, [0, 1, 2, 3]),
        ([700, 710, 720, 730], [0] * 4, [0, 1, 2, 3]),
        ([-20, -10, 0, 10], [10] * 4, [0, 1, 2, 3]),
        # The first frame is shown for half of the time, then the last one.
        ([0, 20, 30], [10] * 3, [0, 0, 1, 2]),
        ([0, 10], [10, 30], [0, 1, 1, 1]),
        # Two frames at one time: the second is seen.
        ([0, 10, 10, 20], [10] * 4, [0, 2, 2, 3]),
        # Nothing tells them apart, at most their durations do.
        ([None] * 4, [0] * 4, [0, 1, 2, 3]),
        ([5] * 4, [0] * 4, [0, 1, 2, 3]),
        ([None] * 2, [30, 10], [0, 0, 0, 1]),
        # Unknown ones lie between their neighbours, or follow.
        ([0, None, None, 30], [10] * 4, [0, 1, 2, 3]),
        ([None, 10, 20, None], [10] * 4, [0, 1, 2, 3]),
        # Recordings one behind the other.
        ([100, 110, 0, 10], [10] * 4, [0, 1, 2, 3]),
        ([3], [0], [0, 0, 0, 0]),
    ],
)
def test_frames_are_shown_until_the_next_one_appears(
    times: list[int | None], durations: list[int], expected: list[int]
):
    assert frames_at(times, durations, 4) == expected


def test_rounded_times_are_those_of_equally_long_frames():
    rounded = [round(k * 1000 / 30) for k in range(90)]
    assert showing(rounded, [33] * 90, tolerance=1).parts == 90
    # One frame in three is missing: that is no rounding.
    sparse = [round(k * 1000 / 30) for k in range(90) if k % 3]
    assert showing(sparse, [33] * 60, tolerance=1).parts > 60


def test_a_long_gap_is_a_jump_only_where_the_clock_jumps():
    assert frames_at([0, 10, 1000, 1010], [10] * 4, 4) == [1, 1, 1, 1]
    assert frames_at([0, 10, 1000, 1010], [10] * 4, 4, longest=500) == [0, 1, 2, 3]


def test_impossible_times_are_named():
    with pytest.raises(ValueError, match="impossible times"):
        showing([0, 2**60], [1, 1])
    with pytest.raises(ValueError, match="no frames"):
        showing([], [])
