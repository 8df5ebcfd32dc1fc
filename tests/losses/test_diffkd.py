"""Knowledge diffusion."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loss_cases import CLIP, IMAGE, batch_of, context, features, teacher_features
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.losses.diffkd import KnowledgeDiffusion
from kdbench.losses.draws import normals, priorities

GRIDS = ((4, 4), (3, 3), (2, 3), (2, 2))
KEPT = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def _diffkd(**params: Any) -> KnowledgeDiffusion:
    torch.manual_seed(0)
    return KnowledgeDiffusion(context(), **params).double()


def _stages(samples: int = 5, grids: Any = GRIDS) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    student = features(samples, grids=grids, dtype=torch.float64)
    teacher = teacher_features(samples, grids=grids, dtype=torch.float64)
    return student.stages, tuple(stage.detach() for stage in teacher.stages)


def _pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def _normed(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def _residual(block: nn.Module, x: Tensor) -> Tensor:
    """A bottleneck with PyTorch's own layers for images."""
    first, second, third = (block.layers[place] for place in (0, 3, 6))
    y = _normed(_pointwise(first, x)).relu()
    y = _normed(F.conv2d(y, second.weight[:, :, 1], second.bias, padding=1)).relu()
    return _normed(_pointwise(third, y)) + x


def _noise_in(loss: KnowledgeDiffusion, x: Tensor, time: Tensor) -> Tensor:
    x = x + loss.denoiser.times.weight[time][:, :, None, None]
    first, second, third, _ = loss.denoiser.layers
    return _normed(_pointwise(third, _residual(second, _residual(first, x))))


def _drawn(call: int, like: Tensor) -> Tensor:
    rows = torch.arange(len(like))
    return normals(torch.tensor(call), rows, like[0].numel()).double().view(like.shape)


@pytest.mark.parametrize("width", [None, 4, 0])
@pytest.mark.parametrize("steps", [5, 2])
def test_it_compares_the_code_with_the_denoised_student(width: int | None, steps: int) -> None:
    (student, teacher), loss = _stages(), _diffkd(width=width, steps=steps, diffusion=0.3, reconstruction=0.2)
    target, rebuilt = teacher[-1], 0.0
    if width != 0:
        code = _normed(_pointwise(loss.encoder[0], target))
        rebuilt = F.mse_loss(_pointwise(loss.decoder, code), target)
        target = code.detach()
        assert code.shape[1] == (width or 3)
    own = _pointwise(loss.inward, student[-1])
    pooled = _residual(loss.share[0], own).mean((2, 3))
    share = F.linear(pooled, loss.share[2].weight, loss.share[2].bias).softmax(1)[:, 0].view(-1, 1, 1, 1)
    own = share * own + (1 - share) * _drawn(1, own)
    gap = 500 // steps
    for time in range((steps - 1) * gap, -1, -gap):
        now, then = KEPT[time], KEPT[time - gap] if time else 1.0
        noise = _noise_in(loss, own, torch.full((5,), time))
        own = (then / now) ** 0.5 * own + ((1 - then) ** 0.5 - (then * (1 - now) / now) ** 0.5) * noise
    expected = F.mse_loss(_normed(_pointwise(loss.outward[0], own)), target)
    time = priorities(torch.tensor(1), torch.arange(5), 1)[:, 0] % 1000
    kept = torch.as_tensor(KEPT)[time].view(-1, 1, 1, 1)
    noise = _drawn(2, target)
    found = _noise_in(loss, kept.sqrt() * target + (1 - kept).sqrt() * noise, time)
    expected = expected + 0.3 * F.mse_loss(found, noise) + 0.2 * rebuilt
    # The products are taken in float32.
    torch.testing.assert_close(loss(student, teacher, batch_of()), expected, rtol=1e-5, atol=0)


def test_every_call_draws_anew_and_trials_keep_theirs_in_another_order() -> None:
    (student, teacher), loss = _stages(), _diffkd()
    values = [loss(student, teacher, batch_of()) for _ in range(2)]
    assert values[0] != values[1]
    assert loss.calls == 4
    order, batch = torch.tensor([3, 0, 4, 1, 2]), batch_of()
    batch = batch.replace(index=batch.index[order])
    other = _diffkd()([x[order] for x in student], [x[order] for x in teacher], batch)
    torch.testing.assert_close(other, values[0])


def test_denoiser_and_code_learn_beside_the_student() -> None:
    (student, teacher), loss = _stages(), _diffkd()
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    before = copy.deepcopy(loss)(student, teacher, batch_of())
    for _ in range(20):
        loss.calls.zero_()
        optimizer.zero_grad()
        loss(student, teacher, batch_of()).backward()
        optimizer.step()
    assert all(weight.grad is not None for weight in loss.parameters())
    loss.calls.zero_()
    assert loss(student, teacher, batch_of()) < 0.7 * before


@pytest.mark.parametrize("diffusion", [0.0, 1.0])
def test_neither_the_students_error_nor_the_denoisers_moves_the_code(diffusion: float) -> None:
    student, teacher = _stages()
    student = tuple(stage.detach().requires_grad_() for stage in student)
    loss = _diffkd(diffusion=diffusion, reconstruction=0.0)
    loss(student, teacher, batch_of()).backward()
    assert student[-1].grad is not None
    assert student[-1].grad.any()
    assert all(weight.grad is None or not weight.grad.any() for weight in loss.encoder.parameters())
    # What moves it is the way back to the teacher's map.
    loss = _diffkd(diffusion=diffusion, reconstruction=1.0)
    loss(student, teacher, batch_of()).backward()
    assert all(weight.grad is not None for weight in loss.encoder.parameters())
    assert loss.encoder[0].weight.grad.any()


@pytest.mark.parametrize("grids", [(CLIP, IMAGE), (CLIP, CLIP), (CLIP, ((16,), (8,), (4,), (2,)))])
def test_unlike_grids_are_aligned_first(grids: Any) -> None:
    student, teacher = features(grids=grids[0]), teacher_features(grids=grids[1])
    torch.manual_seed(0)
    value = KnowledgeDiffusion(context())(student.stages, teacher.stages, batch_of())
    value.backward()
    assert value.isfinite()
    assert student.stages[-1].grad is not None
    assert student.stages[-1].grad.any()
    assert teacher.stages[-1].grad is None


def test_the_gradient_is_the_slope() -> None:
    (student, teacher), loss = _stages(3), _diffkd(steps=2)

    def value(last: Tensor) -> Tensor:
        loss.calls.zero_()
        return loss((*student[:3], last), teacher, batch_of(3))

    torch.autograd.gradcheck(value, student[3], fast_mode=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"steps": 0}, "diffkd: steps is 0"),
        ({"steps": 501}, "diffkd: steps is 501"),
        ({"width": -1}, "diffkd: width is -1"),
        ({"diffusion": -1}, "diffkd: diffusion is -1"),
        ({"reconstruction": -1}, "and reconstruction -1"),
        ({"stage": 4}, "stage 4 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _diffkd(**params)
