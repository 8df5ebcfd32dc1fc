from __future__ import annotations

import pytest
import torch

from kdbench.encoders.deep_conv_lstm import DeepConvLstm
from kdbench.errors import UsageError


def build(**params) -> DeepConvLstm:
    torch.manual_seed(0)
    return DeepConvLstm(3, **params).double().eval()


def series(samples: int = 24) -> torch.Tensor:
    return torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_authors_window_leaves_eight_steps() -> None:
    encoder = build()
    maps, embedding = encoder(series(24))
    assert [tuple(m.shape) for m in maps] == [(2, 192, 20), (2, 192, 16), (2, 192, 12), (2, 192, 8)]
    assert embedding.shape == (2, 128)
    assert encoder.tokens(maps[-1]).shape == (2, 8, encoder.token_width) == (2, 8, 128)
    assert encoder.channels == (192,) * 4


def test_filters_run_along_each_axis_on_its_own() -> None:
    encoder, x = build(filters=2), series()
    maps = encoder(x)[0]
    first = encoder.convolutions[0]
    expected = torch.stack(
        [torch.nn.functional.conv1d(x[:, axis : axis + 1], first.weight[:, 0], first.bias) for axis in range(3)], 2
    )
    torch.testing.assert_close(maps[0], expected.clamp_min(0).flatten(1, 2))
    changed = x.clone()
    changed[:, 1] += 1
    moved = (encoder(changed)[0][3] - maps[3]).abs().amax((0, 2)).view(2, 3)
    assert (moved[:, 1] > 0).any()
    assert (moved[:, [0, 2]] == 0).all()


def test_the_embedding_is_the_last_token() -> None:
    encoder = build()
    maps, embedding = encoder(series())
    torch.testing.assert_close(embedding, encoder.tokens(maps[-1])[:, -1])


def test_weights_start_orthogonal_and_biases_at_zero() -> None:
    encoder = build()
    for name, parameter in encoder.named_parameters():
        if "bias" in name:
            assert not parameter.any()
        else:
            rows = parameter.flatten(1)
            gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype), rtol=0, atol=1e-5)


def test_published_sizes_are_the_defaults() -> None:
    encoder = DeepConvLstm(113)
    assert [tuple(c.weight.shape) for c in encoder.convolutions] == [(64, 1, 1, 5), *[(64, 64, 1, 5)] * 3]
    assert [layer.hidden_size for layer in encoder.recurrent.layers] == [128, 128]
    assert encoder.recurrent.layers[0].input_size == 64 * 113
    assert encoder.dropout.p == 0.5


def test_a_series_that_is_too_short_is_refused() -> None:
    assert build()(series(17))[1].isfinite().all()
    with pytest.raises(UsageError, match="needs series of 17 samples or more and got 16") as caught:
        build()(series(16))
    assert "--set data.series_length=" in caught.value.hint


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"filters": 0}, "filters = 0: expected a whole number, at least 1"),
        ({"kernel": 1}, "kernel = 1: expected a whole number, at least 2"),
        ({"lstm": 2.5}, "lstm = 2.5"),
        ({"layers": 0}, "layers = 0"),
    ],
)
def test_bad_settings_are_usage_errors(params, message) -> None:
    with pytest.raises(UsageError, match=message):
        DeepConvLstm(3, **params)
