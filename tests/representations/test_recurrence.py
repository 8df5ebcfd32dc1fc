from __future__ import annotations

import numpy as np
import pytest
import torch
from sweep import swept

from kdbench.errors import UsageError
from kdbench.representations.recurrence import RecurrencePlot, recurrence_plot

UNIT = ((0.0,), (1.0,))
RANDOM = np.random.default_rng(0)
SERIES = {
    "normal": RANDOM.normal(size=(6, 50)),
    "walk": RANDOM.normal(size=(4, 97)).cumsum(1),
    "offset": 9.81 + 0.01 * RANDOM.normal(size=(4, 61)),
    "large": 1e6 * RANDOM.normal(size=(3, 40)),
    "ties": RANDOM.integers(0, 3, size=(5, 45)).astype(float),
    "rounded": RANDOM.normal(size=(5, 64)).round(1),
    "constant": np.stack([np.full(30, value) for value in (0.0, -3.25, 7.1)]),
    "long": RANDOM.normal(size=(1, 700)),
}
STATES = [(1, 1), (2, 1), (3, 2), (4, 5)]


def reference(series: np.ndarray, **parameters) -> np.ndarray:
    from pyts_images import RecurrencePlot as Reference

    return Reference(**parameters).fit_transform(series)


@pytest.mark.slow
@swept(("dimension", "time_delay"), STATES)
@pytest.mark.parametrize("name", SERIES)
def test_distances_equal_pyts(name, dimension, time_delay):
    options = {"dimension": dimension, "time_delay": time_delay}
    ours = recurrence_plot(torch.from_numpy(SERIES[name]), **options)
    theirs = reference(SERIES[name], **options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@swept(("dimension", "time_delay"), STATES)
@swept(
    "options",
    [{"threshold": "point", "percentage": share} for share in (0, 3, 20, 37.5, 100)]
    + [{"threshold": "distance", "percentage": share} for share in (10, 33, 100)]
    + [{"threshold": 0.5}, {"threshold": 1}],
)
@pytest.mark.parametrize("name", ["normal", "walk", "ties", "rounded", "constant"])
def test_recurrences_equal_pyts(name, options, dimension, time_delay):
    options = {**options, "dimension": dimension, "time_delay": time_delay}
    ours = recurrence_plot(torch.from_numpy(SERIES[name]), **options)
    assert np.array_equal(ours, reference(SERIES[name], **options))


@pytest.mark.parametrize("threshold", [None, "point", "distance", 0.4])
def test_equals_pyts_in_float32(threshold):
    series = SERIES["normal"].astype(np.float32)
    ours = recurrence_plot(torch.from_numpy(series), threshold=threshold, dimension=2)
    assert ours.dtype == torch.float32
    theirs = reference(series, threshold=threshold, dimension=2)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


def test_is_the_distance_of_the_states_and_needs_a_smaller_one():
    plot = recurrence_plot(torch.tensor([0.0, 3.0, 4.0]), dimension=2)
    torch.testing.assert_close(plot, torch.tensor([[0.0, 10**0.5], [10**0.5, 0.0]]))
    assert recurrence_plot(torch.tensor([0.0, 1.0]), threshold=1.0).tolist() == [[1, 0], [0, 1]]


def test_keeps_leading_axes_and_takes_integers():
    ours = recurrence_plot(torch.arange(24).reshape(2, 3, 4))
    assert ours.shape == (2, 3, 4, 4)
    assert ours.dtype == torch.float64


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": "points"}, "expected a positive distance, 'point', 'distance' or null"),
        ({"threshold": 0}, "threshold = 0"),
        ({"threshold": True}, "threshold = True"),
        ({"threshold": "point", "percentage": 101}, r"percentage = 101: expected a number in 0 … 100"),
        ({"dimension": 0}, "dimension = 0"),
        ({"time_delay": 1.5}, "time_delay = 1.5"),
        ({"dimension": 4, "time_delay": 4}, "10 samples has no state of dimension 4 with a delay of 4"),
    ],
)
def test_bad_parameters_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        recurrence_plot(torch.randn(2, 10), **parameters)


def test_bad_settings_are_usage_errors():
    with pytest.raises(UsageError, match="threshold = 'far'"):
        RecurrencePlot(3, statistics=UNIT, threshold="far")
    with pytest.raises(UsageError, match="whole number of pixels"):
        RecurrencePlot(3, statistics=UNIT, image_size=0)


@pytest.mark.parametrize(("dimension", "time_delay"), STATES)
def test_images_have_their_size_and_lie_between_zero_and_one(dimension, time_delay):
    representation = RecurrencePlot(3, statistics=UNIT, image_size=24, dimension=dimension, time_delay=time_delay)
    images = representation(torch.randn(2, 3, 90))
    assert images.shape == (2, 3, 24, 24)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images.amin((-2, -1)), torch.zeros(2, 3))
    torch.testing.assert_close(images.amax((-2, -1)), torch.ones(2, 3))


def test_a_radius_counts_in_deviations_of_the_training_part_and_keeps_the_amplitude():
    series = torch.randn(8, 3, 64) * torch.tensor([1.0, 50.0, 0.01])[:, None]
    by_trial = RecurrencePlot(3, statistics=UNIT, image_size=64)
    by_radius = RecurrencePlot(3, statistics=UNIT, image_size=64, threshold=0.5)
    for each in (by_trial, by_radius):
        each.fit(series)
    torch.testing.assert_close(by_trial(series / 2), by_trial(series), rtol=0, atol=1e-5)
    shares = by_radius(series).mean((0, 2, 3))
    torch.testing.assert_close(shares, shares[:1].expand(3), rtol=0, atol=0.05)
    assert (by_radius(series / 4).mean((0, 2, 3)) > shares + 0.2).all()
    loaded = RecurrencePlot(3, statistics=UNIT, image_size=64, threshold=0.5)
    loaded.load_state_dict(by_radius.state_dict())
    assert torch.equal(loaded(series), by_radius(series))


@pytest.mark.parametrize("threshold", [None, "point", "distance", 0.5])
@pytest.mark.parametrize("dimension", [1, 3])
def test_no_finite_input_gives_nan(threshold, dimension):
    representation = RecurrencePlot(3, statistics=UNIT, image_size=8, threshold=threshold, dimension=dimension)
    hard = torch.stack([torch.zeros(3, 20), torch.full((3, 20), 1e30), 1e30 * torch.randn(3, 20), torch.randn(3, 20)])
    representation.fit(hard[:1])
    images = representation(hard)
    assert images.isfinite().all()
    if threshold is None:
        assert not images[0].any()


def test_rows_do_not_depend_on_one_another():
    series = torch.randn(40, 3, 90)
    representation = RecurrencePlot(3, statistics=UNIT, image_size=96, dimension=2)
    torch.testing.assert_close(representation(series)[2:3], representation(series[2:3]), rtol=0, atol=0)
