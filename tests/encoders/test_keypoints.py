from __future__ import annotations

import pytest
import torch

from kdbench.encoders import keypoints
from kdbench.encoders.keypoints import Keypoints
from kdbench.errors import ParameterError
from kdbench.losses.series import SeriesPrediction
from kdbench.types import Batch, Context, JointGraph, Widths


def build(**params) -> Keypoints:
    torch.manual_seed(0)
    return Keypoints(1, **{"points": 5, "widths": (8, 16, 16, 32), "merged": 16, **params}).double().eval()


def clip(frames: int = 8, side: int = 32) -> torch.Tensor:
    return torch.rand(2, 1, frames, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_first_map_is_points_and_the_others_are_a_series() -> None:
    encoder = build(samples=64)
    maps, embedding = encoder(clip())
    assert [tuple(found.shape) for found in maps] == [
        (2, 15, 64, 1, 1),
        (2, 32, 32, 1, 1),
        (2, 64, 16, 1, 1),
        (2, 128, 4, 1, 1),
    ]
    assert embedding.shape == (2, encoder.width)
    assert encoder.tokens(maps[-1]).shape == (2, 4, 128)


def test_points_stand_for_the_middles_of_their_frames() -> None:
    with torch.no_grad():
        frames, series = build(samples=16)._points(clip(frames=16)), build(samples=32)._points(clip(frames=16))
    torch.testing.assert_close(series[..., 0], frames[..., 0])
    torch.testing.assert_close(series[..., 1], 0.75 * frames[..., 0] + 0.25 * frames[..., 1])
    torch.testing.assert_close(series[..., -1], frames[..., -1])


def test_the_whole_frame_moves_the_points() -> None:
    encoder = build()
    with torch.no_grad():
        before = encoder._points(clip())
        encoder.whole.bias += torch.arange(15.0)
        after = encoder._points(clip())
    torch.testing.assert_close(after - before, torch.arange(15.0, dtype=torch.float64)[:, None].expand(2, 15, 64))


def test_a_point_follows_what_it_sees() -> None:
    """A map that is hot where the picture is light places its point there, to the right and up."""
    encoder = build(points=1, samples=16)
    side = 32
    frames = torch.zeros(1, 1, 16, side, side, dtype=torch.float64)
    rows = torch.linspace(side - 6, 4, 16).round().long()
    for number, row in enumerate(rows):
        frames[0, 0, number, row : row + 2, 2 + number : 4 + number] = 1

    def hot(x: torch.Tensor) -> torch.Tensor:
        light = torch.nn.functional.avg_pool2d(x[:, :1], 4) * 500
        return torch.cat([light, torch.zeros_like(light)], 1)

    # The nets before the heat maps are stood in for by the picture itself.
    seen = {}
    encoder.first.register_forward_hook(lambda *_: seen.update(picture=_[1][0]))
    encoder.maps.register_forward_hook(lambda *_: hot(seen["picture"]))
    points = encoder._points(frames)[0]
    assert (points[0].diff() >= 0).all()
    assert points[0, -1] > points[0, 0]
    assert (points[1].diff() >= 0).all()
    assert points[1, -1] > points[1, 0]
    assert not points[2].any()


def test_the_series_of_joints_teaches_the_points() -> None:
    torch.manual_seed(0)
    encoder = Keypoints(1, points=5, widths=(8, 16, 16, 32), merged=16)
    context = Context(
        3, Widths(3, encoder.channels, encoder.width, axes=3), series={"skeleton": (torch.zeros(6), torch.ones(6))}
    )
    loss = SeriesPrediction(context, stage=0, sources=["skeleton"])
    frames = clip().float()
    batch = Batch({"skeleton": torch.randn(2, 6, 64)}, None, torch.tensor([0, 1]), ("a", "b"), torch.arange(2))
    loss(encoder(frames)[0], batch=batch).backward()
    told = {name.split(".")[0] for name, value in encoder.named_parameters() if value.grad is not None}
    assert told == {"first", "shrinking", "lateral", "maps", "whole"}


def test_in_training_the_series_is_turned_and_at_other_speeds_and_its_points_are_not() -> None:
    points = torch.randn(4, 15, 33, dtype=torch.float64).cumsum(2)
    turned = keypoints._turned(points, 40.0).unflatten(1, (5, 3))
    kept = points.unflatten(1, (5, 3))
    torch.testing.assert_close(turned[:, :, 1], kept[:, :, 1])
    torch.testing.assert_close(turned[:, :, ::2].square().sum(2), kept[:, :, ::2].square().sum(2))
    assert (turned - kept).abs().amax((1, 2, 3)).min() > 0
    line = torch.linspace(0, 1, 33, dtype=torch.float64).expand(64, 3, 33)
    other = keypoints._at_other_speeds(line, 0.2)
    assert (other.diff() >= -1e-12).all()
    assert other.min() >= 0
    assert other.max() <= 1
    slopes = other[:, 0].diff().amax(1) * 32
    assert 0.8 <= slopes.min() < 0.9
    assert 1.1 < slopes.max() <= 1.2 + 1e-9
    assert keypoints._at_other_speeds(line, 0.0) is line
    encoder = build(time_scale=0.2, turn_deg=20)
    with torch.no_grad():
        first, second = encoder(clip()), encoder(clip())
        torch.testing.assert_close(first[1], second[1])
        encoder.train()
        first, second = encoder(clip()), encoder(clip())
    torch.testing.assert_close(first[0][0], second[0][0])
    assert (first[0][1] - second[0][1]).abs().max() > 0


SKELETONS = {"skeleton": JointGraph(("hip", "chest", "head", "hand"), ((0, 1), (1, 2), (1, 3)))}


def test_points_are_as_many_as_the_joints_of_the_skeleton() -> None:
    encoder = build(joints="skeleton", skeletons=SKELETONS)
    assert encoder.knows_joints_of == "skeleton"
    assert encoder.channels[0] == 3 * 4
    assert build(skeletons=SKELETONS).channels[0] == 3 * 5


@pytest.mark.parametrize(
    ("joints", "skeletons", "words"),
    [("skeletn", SKELETONS, "has skeleton; did you mean 'skeleton'"), ("skeleton", {}, "the data set has none")],
)
def test_a_skeleton_that_is_not_there_is_refused(joints, skeletons, words) -> None:
    with pytest.raises(ParameterError, match=words):
        build(joints=joints, skeletons=skeletons)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"points": 0}, "points = 0"),
        ({"samples": 4}, "samples = 4"),
        ({"merged": 2.5}, "merged = 2.5"),
        ({"widths": (8, 16)}, "widths = "),
        ({"series_widths": (8, 0, 8, 8)}, "series_widths = "),
        ({"time_scale": 1}, "time_scale = 1"),
        ({"turn_deg": -1}, "turn_deg = -1"),
    ],
)
def test_sizes_that_no_net_has_are_refused(params, words) -> None:
    with pytest.raises(ParameterError, match=words):
        build(**params)
