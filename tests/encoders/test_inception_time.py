from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdbench.encoders.inception_time import InceptionTime
from kdbench.errors import UsageError


def build(axes: int = 3, **params) -> InceptionTime:
    torch.manual_seed(0)
    return InceptionTime(axes, **params).double().eval()


def series(axes: int = 3, samples: int = 50) -> torch.Tensor:
    return torch.randn(2, axes, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_six_modules_are_two_stages_of_the_length_of_the_series() -> None:
    encoder = build()
    maps, embedding = encoder(series())
    assert [tuple(m.shape) for m in maps] == [(2, 128, 50)] * 2
    assert encoder.channels == (128, 128)
    torch.testing.assert_close(embedding, maps[1].mean(2))
    assert encoder.tokens(maps[1]).shape == (2, 50, 128)
    assert encoder.normalisation == "batch"


@pytest.mark.parametrize("axes", [1, 3])
def test_a_module_follows_the_paper(axes: int) -> None:
    module = build(axes).stages[0].inceptions[0]
    x = series(axes)
    narrow = x if axes == 1 else F.conv1d(x, module.bottleneck.weight)
    parts = []
    for convolution, length in zip(module.convolutions, (40, 20, 10), strict=True):
        padded = F.pad(narrow, ((length - 1) // 2, length // 2))
        parts.append(F.conv1d(padded, convolution[1].weight))
    parts.append(F.conv1d(F.max_pool1d(x, 3, 1, 1), module.pooled[1].weight))
    joined = torch.cat(parts, 1)
    norm = module.norm
    expected = joined / (norm.running_var + norm.eps).sqrt()[:, None]
    torch.testing.assert_close(module(x), expected.clamp_min(0))


def test_a_shortcut_leads_around_three_modules() -> None:
    block = build().stages[0]
    x = series()
    torch.testing.assert_close(block(x), (block.inceptions(x) + block.shortcut(x)).clamp_min(0))
    assert len(block.inceptions) == 3
    assert all(
        not layer.weight.isnan().any() and layer.bias is None for layer in block.modules() if type(layer) is nn.Conv1d
    )


def test_per_sample_normalisation_says_so() -> None:
    assert build(norm="group").normalisation == "sample"
    assert not any(isinstance(part, nn.BatchNorm1d) for part in build(norm="group").modules())


@pytest.mark.parametrize("samples", [1, 7, 180])
def test_takes_series_of_any_length(samples: int) -> None:
    assert build()(series(samples=samples))[1].isfinite().all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"depth": 5}, "depth = 5: expected 3, 6, 9, 12"),
        ({"depth": 15}, "depth = 15"),
        ({"norm": "bacth"}, "unknown norm of inception_time 'bacth'; did you mean 'batch'"),
        ({"kernel": 3}, "kernel = 3: expected a whole number, at least 4"),
        ({"filters": 0}, "filters = 0"),
    ],
)
def test_bad_settings_are_usage_errors(params, message) -> None:
    with pytest.raises(UsageError, match=message):
        InceptionTime(3, **params)
