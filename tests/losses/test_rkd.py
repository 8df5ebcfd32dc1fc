"""Relational knowledge distillation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.errors import UsageError
from kdbench.losses._ops import angles
from kdbench.losses.rkd import relational


def _points(samples: int, width: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _cosines(points: Tensor) -> Tensor:
    edges = torch.nn.functional.normalize(points - points[:, None], dim=2)
    return edges @ edges.transpose(1, 2)


def test_the_angles_are_those_between_the_edges() -> None:
    student, teacher = _points(6, 4), _points(6, 9, seed=1)
    expected = torch.nn.functional.smooth_l1_loss(_cosines(student), _cosines(teacher))
    torch.testing.assert_close(relational(student, teacher, distance_weight=0, angle_weight=1), expected)


def test_rotation_offset_and_scale_have_no_effect() -> None:
    student, teacher = _points(7, 5), _points(7, 8, seed=1)
    rotation = torch.linalg.qr(_points(5, 5, seed=2)).Q
    value = relational(student, teacher)
    assert value > 0.1
    torch.testing.assert_close(relational(3 * student @ rotation + 20, teacher / 9 - 4), value)


@pytest.mark.parametrize("params", [{}, {"distance_weight": 0}, {"angle_weight": 0}, {"squared": True}])
def test_the_gradient_is_that_of_the_value(params: dict[str, Any]) -> None:
    scale = torch.tensor([0.1, 1, 1, 3, 20, 1], dtype=torch.float64)[:, None]
    student, teacher = (scale * _points(6, 3)).requires_grad_(), scale.flip(0) * _points(6, 4, seed=1)
    assert torch.autograd.gradcheck(lambda points: relational(points, teacher, **params), student)


def test_chunks_of_anchors_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = _points(9, 5).requires_grad_(), _points(9, 5, seed=1)
    whole = relational(student, teacher)
    (gradient,) = torch.autograd.grad(whole, student)
    monkeypatch.setitem(angles._CHUNK, "cpu", 2 * 9 * 9)
    chunked = relational(student, teacher)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(torch.autograd.grad(chunked, student)[0], gradient)


def test_no_tensor_of_all_pairs_by_the_width_is_made() -> None:
    class Largest(TorchDispatchMode):
        entries = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.untyped_storage().nbytes() > self.entries * out.element_size():
                self.entries = out.untyped_storage().nbytes() // out.element_size()
            return out

    samples, width = 96, 512
    student = _points(samples, width, dtype=torch.float32).requires_grad_()
    with Largest() as largest:
        relational(student, _points(samples, width, seed=1, dtype=torch.float32)).backward()
    assert largest.entries <= angles._CHUNK["cpu"] < samples**2 * width / 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coinciding_samples_get_a_bounded_gradient(dtype: torch.dtype) -> None:
    student, teacher = _points(8, 6, dtype=dtype), _points(8, 6, seed=1, dtype=dtype)
    student[1], teacher[3] = student[0], teacher[2]
    apart = student.clone()
    apart[1] += 0.5
    norms = []
    for points in (student, apart):
        points.requires_grad_()
        relational(points, teacher).backward()
        norms.append(points.grad.norm().item())
    assert norms[0] < 3 * norms[1]


def test_a_collapsed_batch_has_a_finite_value_and_no_gradient() -> None:
    student = torch.full((4, 3), 2.5, requires_grad=True)
    value = relational(student, _points(4, 3, dtype=torch.float32))
    value.backward()
    assert value.isfinite()
    assert (student.grad == 0).all()


def test_one_sample_has_no_relations() -> None:
    student = _points(1, 3).requires_grad_()
    value = relational(student, _points(1, 5, seed=1))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_float32_agrees_with_float64_under_an_offset() -> None:
    student, teacher = (_points(16, 32, seed=seed, dtype=torch.float32) + 100 for seed in (0, 1))
    exact = relational(student.double(), teacher.double())
    torch.testing.assert_close(relational(student, teacher).double(), exact, rtol=1e-5, atol=0)


def test_sums_are_the_means_times_their_entries() -> None:
    student, teacher = _points(5, 4), _points(5, 4, seed=1)
    for params, entries in (({"angle_weight": 0}, 25), ({"distance_weight": 0}, 125)):
        mean, total = (relational(student, teacher, reduction=reduction, **params) for reduction in ("mean", "sum"))
        torch.testing.assert_close(total, entries * mean)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        relational(_points(3, 4), _points(3, 4), reduction="means")
    with pytest.raises(UsageError, match="3 samples, the teacher 4"):
        relational(_points(3, 4), _points(4, 4))
