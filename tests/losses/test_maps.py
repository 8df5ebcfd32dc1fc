"""Maps of two networks on one grid."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from loss_cases import CLIP, IMAGE, SERIES, TEACHER_CHANNELS, batch_of, built, features, tensors
from sweep import swept

from kdbench.errors import UsageError
from kdbench.losses import BUILTIN
from kdbench.losses.maps import align_maps, check_channels, chosen_stages, meeting_axes, pooled_to_smaller
from kdbench.registry import part_of, registry
from kdbench.types import Widths

DECLARED = {name: part_of(registry("loss").get(name)).declares for name in sorted(BUILTIN)}
ON_STAGES = [name for name, says in DECLARED.items() if says["on"] == "stages" or "stages" in says["reads"]]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ((4, 8, 8), (6, 6), (6, 6)),
        ((4, 8, 8), (8, 8), (8, 8)),
        ((6, 6), (2, 8, 8), (6, 6)),
        ((9, 4), (6, 7), (6, 4)),
        ((16,), (10,), (10,)),
        ((4, 8, 8), (2, 8, 4), (2, 8, 4)),
        ((4, 2, 2), (8,), (8,)),
        ((3, 3), (20,), (9,)),
    ],
)
def test_both_come_to_the_smaller_grid(student: tuple, teacher: tuple, expected: tuple) -> None:
    ours, theirs = align_maps(torch.randn(2, 3, *student), torch.randn(2, 5, *teacher))
    assert ours.shape == (2, 3, *expected)
    assert theirs.shape == (2, 5, *expected)


def test_a_clip_is_averaged_over_time_against_an_image() -> None:
    clip, image = torch.randn(2, 3, 4, 5, 5), torch.randn(2, 3, 5, 5)
    ours, theirs = align_maps(clip, image)
    torch.testing.assert_close(ours, clip.mean(2))
    assert theirs is image


def test_tokens_of_a_clip_keep_the_order_of_time_against_a_series() -> None:
    clip = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 2, 4, 3, 3)
    ours, _ = align_maps(clip, torch.randn(1, 5, 4))
    torch.testing.assert_close(ours, torch.arange(4.0).expand(1, 2, 4))


def test_a_mean_is_kept_where_the_grid_divides() -> None:
    image = torch.randn(2, 3, 8, 8)
    ours, _ = align_maps(image, torch.randn(2, 3, 4, 2))
    torch.testing.assert_close(ours.mean((2, 3)), image.mean((2, 3)))


def test_maps_of_one_network_may_be_pooled_to_their_maxima() -> None:
    larger, smaller = torch.randn(2, 3, 8, 4), torch.randn(2, 5, 4, 4)
    pooled, kept = pooled_to_smaller(larger, smaller, pool="max")
    torch.testing.assert_close(pooled, larger.unflatten(2, (4, 2)).amax(3))
    assert kept is smaller


@pytest.mark.parametrize(("grid", "pooled"), [((8,), (4,)), ((6, 4), (2, 2)), ((2, 4, 4), (2, 2, 2)), ((5, 7), (3, 2))])
def test_maxima_and_their_gradient_are_those_of_torch_also_where_values_tie(grid: tuple, pooled: tuple) -> None:
    feature = torch.randn(3, 4, *grid).relu().requires_grad_()
    other = torch.zeros(3, 4, *pooled)
    pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[len(grid) - 1]
    weights = torch.randn(3, 4, *pooled)
    values = [pooled_to_smaller(feature, other, pool="max")[0], pool(feature, pooled)]
    gradients = [torch.autograd.grad((value * weights).sum(), feature)[0] for value in values]
    assert values[0].equal(values[1])
    torch.testing.assert_close(*gradients)


def test_unlike_channels_are_refused_with_the_way_out() -> None:
    check_channels("mine", torch.zeros(2, 3, 4), torch.zeros(2, 3, 9))
    with pytest.raises(UsageError, match=r"mine: the student has 3 channels, the teacher 5(.|\n)*project first"):
        check_channels("mine", torch.zeros(2, 3, 4), torch.zeros(2, 5, 4))


def test_half_precision_is_averaged_in_float32() -> None:
    clip = torch.randn(1, 1, 64, 2, 2).bfloat16()
    ours, theirs = align_maps(clip, torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16))
    assert ours.dtype == theirs.dtype == torch.float32
    torch.testing.assert_close(ours, clip.float().mean(2))


@swept("teacher_grids", [CLIP, IMAGE, SERIES])
@swept("student_grids", [CLIP, IMAGE, SERIES])
@pytest.mark.parametrize("name", ON_STAGES)
def test_losses_on_stages_take_any_pair_of_ranks(name: str, student_grids: tuple, teacher_grids: tuple) -> None:
    student = features(grids=student_grids)
    value = built(name)(student, features(grids=teacher_grids, channels=TEACHER_CHANNELS, seed=1), batch_of())
    value.backward()
    gradients = [tensor.grad for tensor in tensors(student) if tensor.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert max(gradient.abs().max() for gradient in gradients) > 0


def test_maps_of_unlike_batches_or_without_a_grid_are_refused() -> None:
    with pytest.raises(UsageError, match="holds 2 samples, the teacher's 3"):
        align_maps(torch.zeros(2, 3, 4), torch.zeros(3, 3, 4))
    with pytest.raises(UsageError, match=r"the teacher's map has shape \(2, 3\)"):
        align_maps(torch.zeros(2, 3, 4), torch.zeros(2, 3))


@pytest.mark.parametrize(("ours", "theirs"), [(a, b) for a in (CLIP, IMAGE, SERIES) for b in (CLIP, IMAGE, SERIES)])
def test_the_axes_on_which_maps_meet_are_known_before_they_do(ours: tuple, theirs: tuple) -> None:
    student, teacher = (Widths(2, (1,), 1, axes=len(grids[0])) for grids in (ours, theirs))
    own, target = align_maps(torch.zeros(1, 1, *ours[0]), torch.zeros(1, 1, *theirs[0]))
    assert meeting_axes(student, teacher) == own.dim() - 2 == target.dim() - 2
    unknown = Widths(2, (1,), 1)
    assert meeting_axes(student, unknown) == meeting_axes(unknown, teacher) == meeting_axes(unknown, unknown) == 3


def test_stages_are_chosen_by_index() -> None:
    assert chosen_stages(None, 4, 4) == (0, 1, 2, 3)
    assert chosen_stages([-1, 0], 4, 3) == (-1, 0)


@pytest.mark.parametrize(
    ("stages", "message"),
    [(None, "4 stages and the teacher 3"), ([3], "stage 3 is asked for"), ([-4], "stage -4"), ([], "stages is empty")],
)
def test_stages_that_do_not_exist_in_both_are_refused(stages: list[int] | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen_stages(stages, 4, 3)
