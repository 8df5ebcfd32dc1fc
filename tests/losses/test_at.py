"""Attention transfer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.at import attention_transfer


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_it_compares_the_direction_of_the_energy() -> None:
    # Energies (9, 16) and (1, 0) over two positions, as unit vectors.
    student, teacher = [torch.tensor([[[3.0, 4.0]]])], [torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])]
    q = torch.tensor([9.0, 16.0]) / (81 + 256) ** 0.5
    difference = q - torch.tensor([1.0, 0.0])
    torch.testing.assert_close(attention_transfer(student, teacher), difference.square().mean())
    torch.testing.assert_close(attention_transfer(student, teacher, form="paper"), difference.norm())


def test_scale_sign_and_order_of_the_channels_have_no_effect() -> None:
    student, teacher = _maps((3, 6, 4, 4)), _maps((3, 5, 4, 4), seed=1)
    changed = [-4 * student[0].flip(1)]
    for p in (1, 2, 3):
        value = attention_transfer(student, teacher, p=p)
        assert value > 1e-5
        torch.testing.assert_close(attention_transfer(changed, teacher, p=p), value)


def test_a_clip_is_squared_before_it_is_averaged_over_time() -> None:
    (image,), teacher = _maps((2, 3, 4, 4)), _maps((2, 5, 4, 4), seed=1)
    flicker = torch.stack([image, -image], dim=2)
    torch.testing.assert_close(attention_transfer([flicker], teacher), attention_transfer([image], teacher))


def test_what_is_pooled_where_grids_differ_is_a_choice() -> None:
    student, teacher = _maps((2, 3, 4, 4)), _maps((2, 3, 2, 2), seed=1)
    pooled = [torch.nn.functional.avg_pool2d(student[0], 2)]
    features_first = attention_transfer(student, teacher, align="features")
    torch.testing.assert_close(features_first, attention_transfer(pooled, teacher))
    assert abs(attention_transfer(student, teacher) - features_first) > 1e-4


def test_all_stages_are_summed_by_default() -> None:
    student, teacher = _maps((4, 2, 3), (4, 5, 2, 2)), _maps((4, 3, 3), (4, 8, 2, 2), seed=1)
    first, last = (attention_transfer(student, teacher, stages=[stage]) for stage in (0, 1))
    torch.testing.assert_close(attention_transfer(student, teacher), first + last)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_a_zero_map_and_equal_maps_have_a_finite_gradient(form: str) -> None:
    student, teacher = _maps((3, 4, 2, 2)), _maps((3, 4, 2, 2), seed=1)
    student[0][0] = 0
    teacher[0][1] = student[0][1]
    student[0].requires_grad_()
    attention_transfer(student, teacher, form=form).backward()
    assert student[0].grad.isfinite().all()
    assert student[0].grad[2].abs().max() > 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"p": 0.5}, "p is 0.5"),
        ({"form": "papers"}, "did you mean 'paper'"),
        ({"align": "feature"}, "did you mean 'features'"),
        ({"stages": [1]}, "stage 1 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        attention_transfer(_maps((2, 3, 4)), _maps((2, 3, 4)), **params)
