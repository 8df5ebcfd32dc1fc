from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.representations.projection import FARTHEST, Projection, projected

PLAIN = ((0.0,), (1.0,))


def point(row: int, column: int, grey: float, size: int = 5) -> torch.Tensor:
    frame = torch.zeros(1, 1, 1, size, size)
    frame[..., row, column] = grey
    return frame


@pytest.mark.parametrize(
    ("onto", "place"),
    [
        # The middle of the range is the middle of the other axis; row 1 and column 3 of five stay.
        ("side", (1, 2)),
        ("top", (2, 3)),
    ],
)
def test_a_point_lies_where_its_depth_says(onto: str, place: tuple[int, int]) -> None:
    out = projected(point(1, 3, (1 + FARTHEST) / 2), onto)
    assert torch.nonzero(out[0, 0, 0]).tolist() == [list(place)]
    # Row 1 is the second from above, column 3 the second from the right: three quarters of the way.
    assert out[0, 0, 0][place].item() == pytest.approx(FARTHEST + 0.75 * (1 - FARTHEST))


@pytest.mark.parametrize("onto", ["side", "top"])
def test_the_nearest_comes_first_and_the_farthest_last(onto: str) -> None:
    along = -1 if onto == "side" else -2
    for grey, place in ((1.0, 0), (FARTHEST, 4)):
        out = projected(point(2, 2, grey), onto)
        assert torch.nonzero(out)[0][along].item() == place


def test_of_points_that_fall_together_the_right_or_the_upper_one_is_seen() -> None:
    frame = point(1, 1, 0.5) + point(1, 3, 0.5)
    assert projected(frame, "side").max() == projected(point(1, 3, 0.5), "side").max()
    frame = point(1, 1, 0.5) + point(3, 1, 0.5)
    assert projected(frame, "top").max() == projected(point(1, 1, 0.5), "top").max()


def test_background_and_what_resizing_leaves_of_it_are_no_points() -> None:
    assert not projected(point(2, 2, FARTHEST / 2), "side").any()
    assert not projected(torch.zeros(2, 1, 3, 4, 4), "top").any()


def test_coming_nearer_is_a_change_and_bytes_mean_the_same() -> None:
    clip = torch.cat([point(2, 2, 0.3), point(2, 2, 0.9)], dim=2)
    out = Projection(1, statistics=PLAIN, onto="side", channels="difference")(clip)
    assert out.shape == (1, 2, 2, 5, 5)
    assert out[0, 1, 1].abs().sum() > 0
    whole = torch.randint(0, 256, (2, 1, 3, 6, 6), dtype=torch.uint8)
    top = Projection(1, statistics=PLAIN, onto="top")
    torch.testing.assert_close(top(whole), top(whole.float() / 255))


def test_frames_in_colour_and_unknown_planes_are_refused() -> None:
    with pytest.raises(UsageError, match="depth has one"):
        Projection(3, statistics=PLAIN, onto="side")
    with pytest.raises(UsageError, match="did you mean 'side'"):
        Projection(1, statistics=PLAIN, onto="sides")
