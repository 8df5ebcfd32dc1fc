from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.representations.spectrogram import Spectrogram, power_spectrogram

UNIT = ((0.0,), (1.0,))


def test_equals_scipys_short_time_transform():
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    series = torch.randn(2, 3, 96, dtype=torch.float64)
    power = power_spectrogram(series, window=32, hop=8)
    assert power.shape == (2, 3, 17, 13)
    transform = ShortTimeFFT(hann(32, sym=False), hop=8, fs=1.0, phase_shift=None)
    theirs = transform.spectrogram((series - series.mean(-1, keepdim=True)).numpy(), p0=0, p1=13)
    np.testing.assert_allclose(power, theirs, rtol=1e-9, atol=1e-9)


def test_a_tone_stands_in_the_row_of_its_frequency():
    time = torch.arange(256)
    tone = torch.cos(2 * math.pi * time * 6 / 32) + 9.81
    power = power_spectrogram(tone, window=32, hop=4)
    assert (power[:, 8:-8].argmax(0) == 6).all()
    image = Spectrogram(1, statistics=UNIT, image_size=17, window=32)(tone.expand(1, 1, -1))
    assert (image[0, 0, :, 4:-4].argmax(0) == 6).all()


@pytest.mark.parametrize("value", [0.0, 100.1, -1e30])
def test_a_constant_series_is_silent(value):
    series = torch.full((1, 3, 90), value)
    assert not power_spectrogram(series).any()
    assert not Spectrogram(3, statistics=UNIT, image_size=16)(series).any()


def test_the_trials_range_forgets_the_amplitude_and_the_datasets_keeps_it():
    series = torch.randn(8, 3, 64, generator=torch.Generator().manual_seed(0))
    by_trial = Spectrogram(3, statistics=UNIT, image_size=32)
    by_dataset = Spectrogram(3, statistics=UNIT, image_size=32, range="dataset", decibels=400)
    for each in (by_trial, by_dataset):
        each.fit(series)
    torch.testing.assert_close(by_trial(series / 10), by_trial(series), rtol=0, atol=1e-5)
    # A tenth of the amplitude is 20 of the 400 dB.
    change = by_dataset(series) - by_dataset(series / 10)
    torch.testing.assert_close(change, torch.full_like(change, 20 / 400), rtol=0, atol=1e-5)
    loaded = Spectrogram(3, statistics=UNIT, image_size=32, range="dataset", decibels=400)
    loaded.load_state_dict(by_dataset.state_dict())
    assert torch.equal(loaded(series), by_dataset(series))


@pytest.mark.parametrize(("samples", "window", "hop"), [(1, 32, 4), (20, 32, 4), (64, 33, 64), (64, 2, 1)])
@pytest.mark.parametrize("extent", ["trial", "dataset"])
def test_any_length_gives_finite_images_in_the_unit_range(samples, window, hop, extent):
    series = torch.randn(4, 2, samples) * torch.tensor([1e-30, 1.0, 1e3, 1e30]).view(-1, 1, 1)
    representation = Spectrogram(2, statistics=UNIT, image_size=24, window=window, hop=hop, range=extent)
    representation.fit(series[1:2])
    images = representation(series)
    assert images.shape == (4, 2, 24, 24)
    assert images.isfinite().all()
    assert images.amin() >= -1e-6
    assert images.amax() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": 1}, "window = 1: expected a whole number of samples, at least 2"),
        ({"hop": 0}, "hop = 0"),
        ({"decibels": -3}, "decibels = -3: expected a positive number"),
        ({"range": "trials"}, "did you mean 'trial'"),
        ({"image_size": 1.5}, "whole number of pixels"),
    ],
)
def test_bad_settings_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        Spectrogram(3, statistics=UNIT, **parameters)


def test_rows_do_not_depend_on_one_another():
    series = torch.randn(5, 3, 90)
    representation = Spectrogram(3, statistics=UNIT, image_size=32)
    torch.testing.assert_close(representation(series)[2:3], representation(series[2:3]), rtol=0, atol=1e-6)
