from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sweep import swept

from kdbench.errors import UsageError
from kdbench.representations.mtf import MarkovTransitionField, markov_transition_field

UNIT = ((0.0,), (1.0,))
RANDOM = np.random.default_rng(0)
SERIES = {
    "normal": RANDOM.normal(size=(6, 50)),
    "walk": RANDOM.normal(size=(4, 97)).cumsum(1),
    "offset": 9.81 + 0.01 * RANDOM.normal(size=(4, 61)),
    "tiny": 1e-9 * RANDOM.normal(size=(3, 40)),
    "ties": RANDOM.integers(0, 3, size=(5, 45)).astype(float),
    "rounded": RANDOM.normal(size=(5, 64)).round(1),
    "constant": np.stack([np.full(30, value) for value in (0.0, -3.25, 7.1)]),
    "short": np.array([[0.0, 1.0, 5.0], [2.0, -1.0, 2.0]]),
}


def reference(series: np.ndarray, bins: int, **parameters) -> np.ndarray:
    from pyts_images import MarkovTransitionField as Reference

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return Reference(n_bins=bins, **parameters).fit_transform(series)


@swept("strategy", ["quantile", "uniform", "normal"])
@swept("bins", [2, 3, 8, 21])
@pytest.mark.parametrize("name", SERIES)
def test_equals_pyts(name, bins, strategy):
    ours = markov_transition_field(torch.from_numpy(SERIES[name]), bins=bins, strategy=strategy)
    np.testing.assert_allclose(ours, reference(SERIES[name], bins, strategy=strategy), rtol=0, atol=1e-12)


@swept("strategy", ["quantile", "uniform"])
@pytest.mark.parametrize("name", SERIES)
def test_equals_pyts_in_float32(name, strategy):
    series = SERIES[name].astype(np.float32)
    ours = markov_transition_field(torch.from_numpy(series), strategy=strategy)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, reference(series, 8, strategy=strategy), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 16, 49, 0.25, 0.3, 1.0])
@pytest.mark.parametrize("overlapping", [False, True])
def test_blurs_as_pyts(size, overlapping):
    series = SERIES["normal"]
    ours = markov_transition_field(torch.from_numpy(series), bins=5, image_size=size, overlapping=overlapping)
    theirs = reference(series, 5, image_size=size, overlapping=overlapping)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_is_the_matrix_of_the_paper_on_a_series_worked_out_by_hand():
    # Levels 0 0 1 1 0: from 0 one step stays and one leaves, from 1 likewise.
    field = markov_transition_field(torch.tensor([0.0, 0.1, 1.0, 1.1, 0.2]), bins=2, strategy="uniform")
    torch.testing.assert_close(field, torch.full((5, 5), 0.5))
    # Levels 0 1 1 1: from 0 always to 1, from 1 always to 1.
    field = markov_transition_field(torch.tensor([0.0, 1.0, 1.0, 1.0]), bins=2, strategy="uniform")
    assert field.tolist() == [[0, 1, 1, 1]] * 4


def test_keeps_leading_axes_and_takes_integers():
    ours = markov_transition_field(torch.arange(24).reshape(2, 3, 4), bins=2)
    assert ours.shape == (2, 3, 4, 4)
    assert ours.dtype == torch.float64
    assert markov_transition_field(torch.randn(2, 3, 1)).shape == (2, 3, 1, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strategy": "quantiles"}, "did you mean 'quantile'"),
        ({"bins": 1}, "bins = 1: expected a whole number, at least 2"),
        ({"bins": 2.5}, "bins = 2.5"),
        ({"image_size": 11}, "expected 1 … 10"),
    ],
)
def test_bad_parameters_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        markov_transition_field(torch.randn(2, 10), **parameters)


@pytest.mark.parametrize(
    ("parameters", "message"), [({"strategy": "q"}, "strategy of the MTF 'q'"), ({"bins": 1}, "bins = 1")]
)
def test_bad_settings_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        MarkovTransitionField(3, statistics=UNIT, **parameters)


def test_an_image_below_the_series_length_is_the_functions():
    series = torch.randn(2, 3, 90)
    ours = MarkovTransitionField(3, statistics=UNIT, image_size=32, bins=6)
    expected = markov_transition_field(series.double(), bins=6, image_size=32).float()
    torch.testing.assert_close(ours(series), expected)
    torch.testing.assert_close(ours(series), expected)


def test_an_image_above_it_is_interpolated():
    series = torch.randn(2, 3, 20)
    field = markov_transition_field(series)
    image = MarkovTransitionField(3, statistics=UNIT, image_size=40)(series)
    whole = torch.nn.functional.interpolate(field, size=(40, 40), mode="bilinear", antialias=True)
    torch.testing.assert_close(image, whole, rtol=0, atol=1e-6)


def test_applies_the_statistics_of_the_pretraining():
    series = torch.randn(2, 3, 16)
    ours = MarkovTransitionField(3, statistics=((0.1, 0.2, 0.3), (0.5, 1.0, 2.0)), image_size=16)(series)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    torch.testing.assert_close(ours, (markov_transition_field(series) - mean) / std)


def test_normal_bins_keep_the_amplitude_that_quantiles_forget():
    series = torch.randn(8, 3, 64)
    by_quantile = MarkovTransitionField(3, statistics=UNIT, image_size=64)
    by_normal = MarkovTransitionField(3, statistics=UNIT, image_size=64, strategy="normal")
    for each in (by_quantile, by_normal):
        each.fit(series)
    torch.testing.assert_close(by_quantile(series / 8), by_quantile(series))
    assert (by_normal(series / 8) - by_normal(series)).abs().max() > 0.1
    loaded = MarkovTransitionField(3, statistics=UNIT, image_size=64, strategy="normal")
    loaded.load_state_dict(by_normal.state_dict())
    assert torch.equal(loaded(series), by_normal(series))


@pytest.mark.parametrize("strategy", ["quantile", "uniform", "normal"])
def test_no_finite_input_gives_nan_and_a_constant_axis_is_one_level(strategy):
    representation = MarkovTransitionField(3, statistics=UNIT, image_size=8, strategy=strategy)
    hard = torch.stack([torch.zeros(3, 20), torch.full((3, 20), 1e30), torch.full((3, 20), -1e-30), torch.randn(3, 20)])
    representation.fit(hard[:1])
    images = representation(hard)
    assert images.isfinite().all()
    torch.testing.assert_close(images[:3], torch.ones(3, 3, 8, 8))


def test_rows_do_not_depend_on_one_another():
    series = torch.randn(5, 3, 90)
    representation = MarkovTransitionField(3, statistics=UNIT, image_size=32)
    torch.testing.assert_close(representation(series)[2:3], representation(series[2:3]), rtol=0, atol=1e-7)
