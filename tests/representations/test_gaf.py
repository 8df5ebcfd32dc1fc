from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sweep import swept

from kdbench.errors import UsageError
from kdbench.representations import gaf
from kdbench.representations.gaf import GramianAngularField, gramian_angular_field
from kdbench.representations.length import windows

HALF = ((0.5,), (0.5,))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

RANDOM = np.random.default_rng(0)
SERIES = {
    "normal": RANDOM.normal(size=(6, 50)),
    "walk": RANDOM.normal(size=(4, 180)).cumsum(1),
    "offset": 9.81 + 0.01 * RANDOM.normal(size=(4, 61)),
    "large": 1e6 * RANDOM.normal(size=(3, 40)),
    "tiny": 1e-9 * RANDOM.normal(size=(3, 40)),
    "ties": RANDOM.integers(0, 3, size=(5, 45)).astype(float),
    "constant": np.stack([np.full(30, value) for value in (0.0, -3.25, 7.0)]),
    "short": np.array([[0.0, 1.0], [2.0, -1.0]]),
    "long": RANDOM.normal(size=(1, 1200)),
}


def reference(series: np.ndarray, **parameters) -> np.ndarray:
    from pyts_images import GramianAngularField as Reference

    return Reference(**parameters).fit_transform(series)


@swept("method", ["summation", "difference"])
@pytest.mark.parametrize("name", SERIES)
def test_equals_pyts(name, method):
    series = SERIES[name]
    ours = gramian_angular_field(torch.from_numpy(series), method=method)
    np.testing.assert_allclose(ours, reference(series, method=method), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["normal", "walk", "offset", "ties", "constant", "short", "long"])
def test_equals_pyts_in_float32(name):
    series = SERIES[name].astype(np.float32)
    ours = gramian_angular_field(torch.from_numpy(series))
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, reference(series), rtol=0, atol=5e-6)


@swept(("size", "overlapping"), list(itertools.product([1, 7, 16, 49, 0.25, 0.3, 1.0], [False, True])))
@pytest.mark.parametrize("name", ["normal", "walk", "offset", "ties"])
def test_aggregates_as_pyts(name, size, overlapping):
    series = SERIES[name][:, :50]
    size = min(size, series.shape[1]) if isinstance(size, int) else size
    ours = gramian_angular_field(torch.from_numpy(series), image_size=size, overlapping=overlapping)
    theirs = reference(series, image_size=size, overlapping=overlapping)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7)


@swept("sample_range", [(0, 1), (-0.5, 0.75), (-1, -0.2)])
@pytest.mark.parametrize("name", ["normal", "constant"])
def test_scales_to_other_ranges_as_pyts(name, sample_range):
    series = SERIES[name]
    ours = gramian_angular_field(torch.from_numpy(series), sample_range=sample_range)
    np.testing.assert_allclose(ours, reference(series, sample_range=sample_range), rtol=0, atol=1e-7)


def test_leaves_values_unscaled_on_request():
    series = RANDOM.uniform(-1, 1, size=(3, 20))
    ours = gramian_angular_field(torch.from_numpy(series), sample_range=None)
    np.testing.assert_allclose(ours, reference(series, sample_range=None), rtol=0, atol=1e-7)


def test_is_the_cosine_of_the_summed_angles():
    series = torch.linspace(-1, 1, 9, dtype=torch.float64)[None]
    angles = torch.arccos(series)
    ours = gramian_angular_field(series)
    torch.testing.assert_close(ours, torch.cos(angles[:, :, None] + angles[:, None]), rtol=0, atol=1e-7)


def test_a_constant_axis_gives_ones_even_where_windows_differ():
    series = torch.full((1, 3, 100), 100.1, dtype=torch.float64)
    assert torch.equal(gramian_angular_field(series, image_size=33), torch.ones(1, 3, 33, 33, dtype=torch.float64))


def test_keeps_leading_axes_and_takes_integers():
    ours = gramian_angular_field(torch.arange(24).reshape(2, 3, 4))
    assert ours.shape == (2, 3, 4, 4)
    assert ours.dtype == torch.float64


def test_values_outside_the_unit_range_are_an_error_without_scaling():
    with pytest.raises(UsageError, match=r"needs values in \[-1, 1\]; the series reaches 2.5"):
        gramian_angular_field(torch.tensor([0.0, -2.5]), sample_range=None)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"image_size": 11}, "expected 1 … 10"),
        ({"image_size": 0}, "expected 1 … 10"),
        ({"image_size": 1.5}, "does not fit a series of 10 samples"),
        ({"sample_range": (-2, 1)}, "expected -1 <= lower < upper <= 1"),
        ({"sample_range": (0.5, 0.5)}, "expected -1 <= lower < upper <= 1"),
        ({"method": "sumation"}, "did you mean 'summation'"),
    ],
)
def test_bad_parameters_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        gramian_angular_field(torch.randn(2, 10), **parameters)


def test_image_resizing_equals_resizing_the_full_field():
    series = torch.randn(2, 3, 180, dtype=torch.float64)
    for size in (64, 224):
        ours = GramianAngularField(3, statistics=HALF, image_size=size)(series)
        field = gramian_angular_field(series)
        whole = F.interpolate(field, size=(size, size), mode="bilinear", antialias=True)
        torch.testing.assert_close(ours.double(), whole, rtol=0, atol=2e-6)


def test_paa_resizing_of_too_short_a_series_names_the_largest_image():
    representation = GramianAngularField(3, statistics=HALF, image_size=64, resize="paa")
    with pytest.raises(UsageError, match="takes means of 40 samples, which makes no image of 64 pixels") as caught:
        representation(torch.rand(2, 3, 40))
    assert "an image_size of 40 or less" in str(caught.value.hint)


def test_paa_resizing_equals_the_function():
    series = torch.randn(2, 3, 180)
    ours = GramianAngularField(3, statistics=HALF, image_size=64, resize="paa", method="difference")(series)
    expected = gramian_angular_field(series, image_size=64, method="difference")
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


def test_series_resizing_resamples_first():
    series = torch.linspace(0, 1, 90).expand(1, 3, 90)
    ours = GramianAngularField(3, statistics=HALF, image_size=32, resize="series")(series)
    torch.testing.assert_close(
        ours, gramian_angular_field(torch.linspace(0, 1, 32)).expand(1, 3, 32, 32), atol=0.1, rtol=0
    )
    assert ours.shape == (1, 3, 32, 32)


def test_applies_the_statistics_of_the_pretraining():
    series = torch.randn(2, 3, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    ours = GramianAngularField(3, statistics=IMAGENET, image_size=64)(series)
    expected = ((gramian_angular_field(series) + 1) / 2 - mean) / std
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_trial_range_forgets_the_amplitude_and_dataset_range_keeps_it():
    series = torch.randn(8, 3, 64)
    by_trial = GramianAngularField(3, statistics=HALF, image_size=64)
    by_dataset = GramianAngularField(3, statistics=HALF, image_size=64, range="dataset")
    for representation in (by_trial, by_dataset):
        representation.fit(series)
    torch.testing.assert_close(by_trial(series / 2), by_trial(series))
    assert (by_dataset(series / 2) - by_dataset(series)).abs().max() > 0.1


def test_dataset_range_clamps_what_lies_outside_the_training_part_and_is_saved():
    fitted = GramianAngularField(3, statistics=HALF, image_size=16, range="dataset")
    fitted.fit(torch.randn(10, 3, 50))
    images = fitted(100 * torch.randn(2, 3, 50))
    assert images.abs().max() <= 1 + 1e-6
    loaded = GramianAngularField(3, statistics=HALF, image_size=16, range="dataset")
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded.high, fitted.high)
    assert not torch.equal(loaded.high, torch.ones_like(loaded.high))


@pytest.mark.parametrize("resize", ["image", "series", "paa"])
@pytest.mark.parametrize("extent", ["trial", "dataset"])
def test_no_finite_input_gives_nan(resize, extent):
    representation = GramianAngularField(3, statistics=HALF, image_size=8, resize=resize, range=extent)
    hard = torch.stack([torch.zeros(3, 20), torch.full((3, 20), 1e30), torch.full((3, 20), -1e-30), torch.randn(3, 20)])
    representation.fit(hard[:1])
    assert torch.isfinite(representation(hard)).all()


def test_rows_do_not_depend_on_one_another():
    series = torch.randn(5, 3, 90)
    representation = GramianAngularField(3, statistics=HALF, image_size=32)
    torch.testing.assert_close(representation(series)[2:3], representation(series[2:3]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "sum"}, "unknown method of the GAF 'sum'"),
        ({"resize": "images"}, "did you mean 'image'"),
        ({"range": "data"}, "unknown range of the GAF 'data'"),
        ({"image_size": 0}, "whole number of pixels"),
        ({"image_size": 0.5}, "whole number of pixels"),
    ],
)
def test_bad_settings_are_usage_errors(parameters, message):
    with pytest.raises(UsageError, match=message):
        GramianAngularField(3, statistics=HALF, **parameters)


@pytest.mark.parametrize("method", ["summation", "difference"])
@pytest.mark.parametrize("shape", [(5, 3, 90), (40, 64), (7,)])
def test_a_reused_buffer_holds_what_fresh_memory_would(shape, method):
    series = torch.randn(shape)
    out = torch.full((*shape, shape[-1]), torch.nan)
    returned = gramian_angular_field(series, method=method, out=out)
    assert returned is out
    assert torch.equal(out, gramian_angular_field(series, method=method))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(2, 10, 9), r"expected \(2, 10, 10\) torch.float32 cpu, got \(2, 10, 9\)"),
        (torch.empty(2, 10, 10, dtype=torch.float64), "got .* torch.float64"),
        (torch.empty(10, 10).expand(2, 10, 10), "expected contiguous memory"),
        (torch.empty(2, 10, 10, requires_grad=True), "expected a tensor without gradient"),
    ],
)
def test_a_buffer_that_does_not_fit_is_refused(out, message):
    with pytest.raises(UsageError, match=message):
        gramian_angular_field(torch.randn(2, 10), out=out)


def test_a_buffer_over_the_series_is_refused():
    memory = torch.randn(300)
    with pytest.raises(UsageError, match="shares its memory with the series"):
        gramian_angular_field(memory[190:210].view(2, 10), out=memory[:200].view(2, 10, 10))
    gramian_angular_field(memory[200:220].view(2, 10), out=memory[:200].view(2, 10, 10))


def test_a_gradient_still_reaches_the_series():
    series = torch.randn(2, 12, dtype=torch.float64, requires_grad=True)
    field = gramian_angular_field(series)
    torch.testing.assert_close(field.detach(), gramian_angular_field(series.detach()), rtol=0, atol=1e-12)
    weights = torch.randn(2, 12, 12, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((field * weights).sum(), series)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("n", [90, 64, 70])
def test_windows_are_built_once_for_each_length(n, monkeypatch):
    built = []
    monkeypatch.setattr(gaf, "windows", lambda *given, **named: built.append(given) or windows(*given, **named))
    representation = GramianAngularField(3, statistics=HALF, image_size=64, resize="paa")
    series = torch.randn(2, 3, n)
    first = representation(series)
    assert torch.equal(representation(series), first)
    representation(torch.randn(2, 3, 100))
    assert built == [(n, 64), (100, 64)]
