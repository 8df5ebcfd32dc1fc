from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.representations.clip import Clip

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0,), (1.0,))


def test_bytes_and_floats_mean_the_same():
    video = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    representation = Clip(3, statistics=IMAGENET)
    torch.testing.assert_close(representation(video), representation(video.float() / 255))


def test_normalises_each_channel():
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in IMAGENET)
    video = torch.rand(2, 3, 4, 8, 8)
    torch.testing.assert_close(Clip(3, statistics=IMAGENET)(video), (video - mean) / std)


def test_repeats_one_channel_for_an_encoder_of_rgb():
    video = torch.rand(2, 1, 4, 8, 8)
    representation = Clip(1, statistics=IMAGENET)
    assert representation.out_channels == 3
    torch.testing.assert_close(representation(video), Clip(3, statistics=IMAGENET)(video.expand(-1, 3, -1, -1, -1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_appends_the_change_from_frame_to_frame(channels):
    video = torch.rand(2, channels, 5, 4, 4)
    representation = Clip(channels, statistics=PLAIN, channels="difference")
    out = representation(video)
    assert representation.out_channels == out.shape[1] == 2 * channels
    torch.testing.assert_close(out[:, :channels], video)
    assert not out[:, channels:, 0].any()
    torch.testing.assert_close(out[:, channels:, 1:], video.diff(dim=2))


def test_a_still_clip_has_no_change():
    video = torch.full((1, 1, 4, 2, 2), 200, dtype=torch.uint8)
    assert not Clip(1, statistics=IMAGENET, channels="difference")(video)[:, 1:].any()


def test_one_frame_is_enough():
    out = Clip(1, statistics=PLAIN, channels="difference")(torch.rand(1, 1, 1, 4, 4))
    assert out.shape == (1, 2, 1, 4, 4)


def test_an_unknown_mode_names_the_near_miss():
    with pytest.raises(UsageError, match="did you mean 'difference'"):
        Clip(1, statistics=PLAIN, channels="diference")
