"""GAF images of series at their native lengths: the n × n field, resized."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.representations.gaf import GramianAngularField, gramian_angular_field
from kdbench.representations.length import extremes, lengths_of, resample, resample_each

HALF = ((0.5,), (0.5,))
LENGTHS = (1, 2, 31, 32, 33, 107, 326, 1200)
METHODS = ("summation", "difference")


def walks(length: int, *, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, length, generator=torch.Generator().manual_seed(seed)).cumsum(-1)


def padded(series: list[Tensor]) -> Tensor:
    longest = max(one.shape[-1] for one in series)
    return torch.cat([F.pad(one, (0, longest - one.shape[-1]), value=torch.nan) for one in series])


def native(size: int = 32, **params) -> GramianAngularField:
    return GramianAngularField(3, statistics=HALF, image_size=size, length="native", **params)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [2, 40, 107, 326, 700])
def test_the_image_is_pyts_field_of_the_whole_series_resized(n, method):
    from pyts_images import GramianAngularField as Reference

    series = walks(n)
    field = Reference(method=method).fit_transform(series[0].double().numpy())
    expected = F.interpolate(torch.from_numpy(field)[None], size=(32, 32), mode="bilinear", antialias=True)
    batch = padded([series, walks(1000, seed=1)])
    torch.testing.assert_close(native(method=method)(batch)[:1].double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_without_resizing_it_is_the_closed_form(method):
    series = walks(48)
    expected = gramian_angular_field(series, method=method)
    torch.testing.assert_close(native(48, method=method)(series), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("extent", ["trial", "dataset"])
@pytest.mark.parametrize("resize", ["image", "series"])
@pytest.mark.parametrize("method", METHODS)
def test_longer_series_in_the_batch_do_not_change_a_bit(method, resize, extent):
    made = native(method=method, resize=resize, range=extent)
    series = [walks(n, seed=n) for n in LENGTHS]
    made.fit(torch.cat(series, 2))
    together = made(padded(series))
    assert together.isfinite().all()
    for row, one in enumerate(series):
        assert torch.equal(together[row : row + 1], made(one))


def test_series_of_one_length_give_what_a_resampled_series_of_that_length_gives():
    series = torch.cat([walks(90), walks(90, seed=1)])
    for resize in ("image", "series"):
        resampled = GramianAngularField(3, statistics=HALF, image_size=32, resize=resize)
        torch.testing.assert_close(native(resize=resize)(series), resampled(series), rtol=0, atol=1e-6)


def test_each_series_is_resampled_as_if_alone():
    for n in LENGTHS:
        series = walks(n).double()
        given = padded([series, walks(1300, seed=1).double()])
        for size in (7, 32, 224):
            ours = resample_each(given, lengths_of(given), size)[:1]
            torch.testing.assert_close(ours, resample(series, size), rtol=0, atol=1e-12)


def test_a_constant_axis_is_ones_beside_a_longer_series():
    still = walks(20)
    still[:, 1] = 9.81
    image = native()(padded([still, walks(300, seed=1)]))
    torch.testing.assert_close(image[0, 1], torch.ones(32, 32), rtol=0, atol=1e-6)


def test_lengths_and_extremes_end_with_the_series():
    series = padded([walks(5), walks(9, seed=1)])
    lengths = lengths_of(series)
    low, high = extremes(series, lengths)
    assert lengths.tolist() == [5, 9]
    assert torch.equal(low[0, :, 0], walks(5)[0].amin(-1))
    assert torch.equal(high[1, :, 0], walks(9, seed=1)[0].amax(-1))


def test_a_gap_within_a_series_is_not_taken_for_its_end():
    series = walks(50)
    series[0, :, 20] = torch.nan
    assert lengths_of(series).tolist() == [50]
    assert native()(series).isnan().any()


def test_a_long_recording_needs_no_field_of_its_own_size():
    made, series = native(224), walks(200_000)
    assert made(series).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"length": "nativ"}, "did you mean 'native'"),
        ({"length": "native", "resize": "paa"}, "length = native does not go with resize = paa"),
    ],
)
def test_bad_settings_are_usage_errors(params, message):
    with pytest.raises(UsageError, match=message):
        GramianAngularField(3, statistics=HALF, **params)


def test_it_says_by_its_parameters_which_series_it_takes():
    assert GramianAngularField.takes_native({"length": "native"})
    assert not GramianAngularField.takes_native({"length": "resampled"})
    assert not GramianAngularField.takes_native({})
