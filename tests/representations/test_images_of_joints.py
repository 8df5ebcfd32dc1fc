"""A skeleton's joints as images of their pose and of the body's shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.representations.pose_image import PoseImage
from kdbench.representations.shape_image import ShapeImage
from kdbench.types import JointGraph

PLAIN = ((0.0,), (1.0,))
PAIR = JointGraph(("hip", "hand"), ((0, 1),))


def pose(**params: Any) -> PoseImage:
    return PoseImage(6, **{"statistics": PLAIN, "skeleton": PAIR, **params})


def shape(**params: Any) -> ShapeImage:
    return ShapeImage(6, **{"statistics": PLAIN, "skeleton": PAIR, **params})


def series(hip: list[tuple[float, float, float]], hand: list[tuple[float, float, float]]) -> Tensor:
    """A trial `(1, 6, n)` from the positions of both joints."""
    return torch.tensor([hip, hand]).transpose(1, 2).reshape(1, 6, -1)


def test_the_pose_image_has_a_row_a_joint_a_column_a_moment_and_a_channel_an_axis() -> None:
    made = pose(image_size=2)
    x = series([(0, 1, 5), (2, 1, 5)], [(4, 3, 5), (1, 2, 5)])
    made.fit(x)
    expected = torch.tensor([[[0.0, 0.5], [1.0, 0.25]], [[0.0, 0.0], [1.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(made(x)[0], expected)
    assert (made.out_channels, made.makes) == (3, "image")


def test_the_pose_image_is_resized_clamped_and_normalised_for_the_encoder() -> None:
    made = pose(image_size=16, statistics=((0.5,), (0.25,)))
    x = torch.randn(3, 6, 40, generator=torch.Generator().manual_seed(0))
    made.fit(x)
    out = made(10 * x)
    assert out.shape == (3, 3, 16, 16)
    assert out.min() >= -2
    assert out.max() <= 2
    torch.testing.assert_close(pose(image_size=16).low, torch.zeros(3))


def test_the_shape_image_is_the_rank_pooling_of_summed_gaussians() -> None:
    size, sigma, n = 12, 0.1, 5
    made = shape(image_size=size, sigma=sigma)
    x = torch.randn(2, 6, n, generator=torch.Generator().manual_seed(0))
    made.fit(x)
    joints = x.numpy().reshape(2, 2, 3, n).astype(float)
    low, high = joints.min((0, 1, 3))[:2], joints.max((0, 1, 3))[:2]
    extent = (high - low).max() / (1 - 4 * sigma)
    cells = (np.arange(size) + 0.5) / size - 0.5
    for row in range(2):
        pooled = np.zeros((size, size))
        for t in range(1, n + 1):
            for joint in range(2):
                u, up = (joints[row, joint, :2, t - 1] - (low + high) / 2) / extent
                bumps = [np.exp(-((cells - place) ** 2) / (2 * sigma**2)) for place in (-up, u)]
                pooled += (2 * t - n - 1) * np.outer(*bumps)
        expected = 0.5 + 0.5 * pooled / np.abs(pooled).max()
        np.testing.assert_allclose(made(x)[row, 0].numpy(), expected, atol=1e-5)


def test_what_stays_vanishes_and_what_moves_goes_from_dark_to_light() -> None:
    made = shape(image_size=20)
    x = series([(0, 0, 0)] * 3, [(-1, 1, 0), (0, 1, 0), (1, 1, 0)])
    made.fit(x)
    image = made(x)[0, 0]
    hand, hip = image[:8], image[14:]
    assert hand[:, :4].min() == pytest.approx(0, abs=1e-4)
    assert hand[:, -4:].max() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(hip, torch.full_like(hip, 0.5), atol=1e-3, rtol=0)
    still = made(x[..., :1].expand(-1, -1, 7))
    torch.testing.assert_close(still, torch.full_like(still, 0.5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("make", [pose, shape])
def test_what_was_learnt_is_saved_and_a_still_part_gives_numbers(make: Any) -> None:
    x = torch.randn(4, 6, 20, generator=torch.Generator().manual_seed(1))
    fitted, loaded = make(image_size=8), make(image_size=8)
    fitted.fit(x)
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded(x), fitted(x))
    fitted.fit(torch.ones(3, 6, 9))
    assert fitted(x).isfinite().all()


@pytest.mark.parametrize("kind", [PoseImage, ShapeImage])
def test_another_source_and_sizes_that_there_are_not_are_refused(kind: Any) -> None:
    with pytest.raises(UsageError, match="is for the joints of a skeleton"):
        kind(3, statistics=PLAIN)
    with pytest.raises(UsageError, match="image_size = 0"):
        kind(6, statistics=PLAIN, skeleton=PAIR, image_size=0)


def test_a_gaussian_wider_than_the_frame_is_refused() -> None:
    with pytest.raises(UsageError, match=r"shape_image: sigma = 0\.5"):
        shape(sigma=0.5)
