"""Flow of the solution procedure."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.fsp import solution_flow


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _flow(first: Tensor, second: Tensor) -> Tensor:
    return torch.einsum("bchw,bdhw->bcd", first, second) / first[0, 0].numel()


def test_it_compares_the_flows_of_consecutive_stages() -> None:
    shapes = ((3, 2, 4, 4), (3, 5, 4, 4), (3, 4, 4, 4))
    student, teacher = _maps(*shapes), _maps(*shapes, seed=1)
    squares = [
        (_flow(student[i], student[i + 1]) - _flow(teacher[i], teacher[i + 1])).square().flatten(1) for i in (0, 1)
    ]
    torch.testing.assert_close(solution_flow(student, teacher), sum(term.sum(1).mean() for term in squares))
    torch.testing.assert_close(
        solution_flow(student, teacher, reduction="mean"), sum(term.mean(1).mean() for term in squares)
    )
    chosen = solution_flow(student, teacher, stages=[0, 2])
    expected = (_flow(student[0], student[2]) - _flow(teacher[0], teacher[2])).square().sum((1, 2)).mean()
    torch.testing.assert_close(chosen, expected)


@pytest.mark.parametrize(("pool", "pooled"), [("max", F.max_pool2d), ("average", F.avg_pool2d)])
def test_the_larger_grid_is_pooled_within_a_network(pool: str, pooled: object) -> None:
    student, teacher = _maps((2, 3, 8, 8), (2, 4, 4, 4)), _maps((2, 3, 8, 8), (2, 4, 4, 4), seed=1)
    first = [[pooled(maps[0], 2), maps[1]] for maps in (student, teacher)]
    torch.testing.assert_close(solution_flow(student, teacher, pool=pool), solution_flow(*first, pool=pool))


def test_the_grids_of_the_networks_need_not_agree_and_a_clip_is_averaged_over_time() -> None:
    clips, images = _maps((2, 3, 5, 6, 6), (2, 4, 5, 3, 3)), _maps((2, 3, 4, 4), (2, 4, 2, 2), seed=1)
    averaged = [clip.mean(2) for clip in clips]
    torch.testing.assert_close(solution_flow(clips, images), solution_flow(averaged, images))
    series = _maps((2, 3, 16), (2, 4, 8), seed=1)
    assert solution_flow(clips, series) > 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pool": "maximum"}, "unknown pool of fsp 'maximum'"),
        ({"reduction": "means"}, "did you mean 'mean'"),
        ({"stages": [0]}, "1 stage is chosen"),
        ({"stages": [0, 2]}, "stage 2 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict, message: str) -> None:
    maps = _maps((2, 3, 4), (2, 3, 4))
    with pytest.raises(UsageError, match=message):
        solution_flow(maps, maps, **params)


def test_unlike_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="fsp: the student has 4 channels, the teacher 5"):
        solution_flow(_maps((2, 3, 4), (2, 4, 4)), _maps((2, 3, 4), (2, 5, 4)))
