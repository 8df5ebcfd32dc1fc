from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

from kdbench.encoders.conv import Conv2d
from kdbench.errors import UsageError
from kdbench.registry import part_of, registry
from kdbench.testing import parametrize

FRAMES, SIDE = 5, 32
SMALL = {"widths": (4, 6, 8, 10)}


def build(name: str = "frames:conv2d", channels: int = 3, **params):
    torch.manual_seed(0)
    return registry("encoder").get(name)(channels, **params)


def clip(frames: int = FRAMES, rows: int = 2, channels: int = 3) -> Tensor:
    return torch.randn(rows, channels, frames, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def numbered(frames: int, rows: int) -> Tensor:
    """A clip of one pixel whose frames hold their own number."""
    return torch.arange(frames).float().view(1, 1, frames, 1, 1).expand(rows, 1, frames, 1, 1)


@parametrize("encoder", "frames:conv2d")
def test_conformance(check) -> None:
    check()


@pytest.mark.slow
@parametrize("encoder", "frames:timm:resnet18")
def test_conformance_of_an_encoder_of_timm(check) -> None:
    check()


def test_each_frame_is_seen_as_an_image_of_its_own() -> None:
    encoder, x = build(**SMALL).eval(), clip()
    maps, embedding = encoder(x)
    assert [tuple(m.shape) for m in maps] == [(2, c, 5, s, s) for c, s in ((4, 16), (6, 8), (8, 4), (10, 2))]
    alone = [encoder.image(x[:, :, t]) for t in range(FRAMES)]
    for stage, m in enumerate(maps):
        torch.testing.assert_close(m, torch.stack([maps[stage] for maps, _ in alone], 2))
    embeddings = torch.stack([one for _, one in alone], 1)
    torch.testing.assert_close(encoder.tokens(maps[-1]), embeddings)
    torch.testing.assert_close(embedding, embeddings.mean(1))


def test_it_stands_for_its_encoder_of_images() -> None:
    frames = registry("encoder").get("frames:swin_t")
    image = registry("encoder").get("swin_t")
    assert frames is registry("encoder").get("frames:swin_t")
    assert frames.statistics == image.statistics
    assert part_of(frames).declares["eats"] == "clip"
    assert list(inspect.signature(frames).parameters) == [
        *("in_channels", "segments"),
        *("weights", "image_size", "drop_path"),
    ]
    batch = build(**SMALL, norm="batch")
    assert (batch.normalisation, batch.token_width, batch.channels) == ("batch", 10, (4, 6, 8, 10))


def test_a_class_token_stays_with_its_frame() -> None:
    encoder = build("frames:timm:vit_tiny_patch16_224", weights="random", image_size=SIDE).eval()
    x = clip(3)
    with torch.no_grad():
        together = encoder(x)[1]
        alone = torch.stack([encoder.image(x[:, :, t])[1] for t in range(3)], 1).mean(1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert encoder.image.prefix == 1
    assert encoder.isotropic


# Segments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "segments"), [(8, 8), (8, 4), (9, 2), (7, 3), (5, 1)])
def test_the_centre_frame_of_each_segment_is_seen_at_test(frames: int, segments: int) -> None:
    encoder = build(channels=1, segments=segments, **SMALL).eval()
    seen = encoder._seen(numbered(frames, 2)).flatten(1)
    assert seen.tolist() == [[float((2 * part + 1) * frames // (2 * segments)) for part in range(segments)]] * 2


def test_a_frame_of_each_segment_is_drawn_for_each_row_in_training() -> None:
    encoder = build(channels=1, segments=3, **SMALL).train()
    torch.manual_seed(0)
    seen = encoder._seen(numbered(12, 400)).flatten(1)
    for part in range(3):
        assert set(seen[:, part].tolist()) == set(map(float, range(4 * part, 4 * part + 4)))
    torch.manual_seed(0)
    assert torch.equal(seen, encoder._seen(numbered(12, 400)).flatten(1))


def test_maps_have_as_many_frames_as_there_are_segments() -> None:
    maps, embedding = build(segments=2, **SMALL)(clip())
    assert {m.shape[2] for m in maps} == {2}
    assert embedding.shape == (2, 10)


@pytest.mark.parametrize("training", [True, False])
def test_without_segments_nothing_is_drawn_or_left_out(training: bool) -> None:
    x = clip()
    assert build(**SMALL).train(training)._seen(x) is x


@pytest.mark.parametrize("segments", [0, -1, 2.5])
def test_segments_are_whole_frames(segments) -> None:
    with pytest.raises(UsageError, match=rf"segments = {segments}: expected a whole number"):
        build(segments=segments)


def test_more_segments_than_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="segments = 8, and the clip has 5 frames") as caught:
        build(segments=8, **SMALL)(clip())
    assert caught.value.hint == "Give it longer clips: --set data.frames=32"


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["conv1d", "conv2plus1d", "frames:conv2d", "torchvision:r3d_18"])
def test_an_encoder_of_something_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"runs an encoder of images on each frame, and '{name}' takes"):
        registry("encoder").get(f"frames:{name}")


def test_a_misspelt_encoder_names_the_near_miss() -> None:
    with pytest.raises(UsageError, match="unknown encoder 'convd2'; did you mean 'conv2d'"):
        registry("encoder").get("frames:convd2")


def test_its_description_has_the_arguments_of_both() -> None:
    text = inspect.getdoc(registry("encoder").get("frames:swin_t"))
    assert "Of `swin_t`: Swin-T over an image" in text
    assert "    segments: K; null sees every frame.\n" in text
    assert "    drop_path: Largest rate of stochastic depth" in text


def test_pretrained_weights_are_those_of_the_encoder_of_images() -> None:
    encoder = build(**SMALL)
    assert isinstance(encoder.image, Conv2d)
    assert encoder.pretrained is False
