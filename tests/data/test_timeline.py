from __future__ import annotations

import numpy as np

from kdbench.data.timeline import centre_frames, centres, resample


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
