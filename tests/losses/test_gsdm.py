"""Graph-guided semantically discriminative mapping."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loss_cases import changed, context, features, teacher_features, tensors
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.gsdm import SemanticallyDiscriminativeMapping
from kdbench.types import Features

SLOPES = ("sample", "channel")
SAME: dict[str, Any] = {"grids": ((4, 4), (3, 3), (2, 3), (2, 2)), "dtype": torch.float64}


def _gsdm(**params: Any) -> SemanticallyDiscriminativeMapping:
    return SemanticallyDiscriminativeMapping(context(), **params)


def _smoothed(scores: Tensor, vectors: Tensor) -> Tensor:
    """S E, with the affinity of the mean squared difference of the logits, sample by sample."""
    samples = range(len(scores))
    w = torch.stack(
        [torch.stack([(-(scores[i] - scores[j]).square().mean() / 2).exp() for j in samples]) for i in samples]
    )
    degree = w.sum(1)
    return (w / (degree[:, None] * degree).sqrt()) @ vectors[scores.argmax(1)]


def _slope(given: Features) -> Tensor:
    vectors = context().label_vectors.double()
    smoothed = _smoothed(given.logits, vectors)
    return ((smoothed - _smoothed(given.ablated_logits, vectors)) / smoothed).clamp(-10, 10)


def _evidence(slope: Tensor, feature: Tensor) -> Tensor:
    weighted = (slope[:, :, None, None] * feature).sum(1).relu()
    return F.normalize(weighted.flatten(1))


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("slope", SLOPES)
def test_it_is_the_mean_over_the_stages_of_the_difference_of_the_evidence(slope: str, clamp: bool) -> None:
    student, teacher = features(seed=3, **SAME), teacher_features(**SAME)
    terms = []
    for ours, theirs in zip(student.stages, teacher.stages, strict=True):
        maps = []
        for given, feature in ((student, ours), (teacher, theirs)):
            k = _slope(given)
            k = k.clamp_min(0) if clamp else k
            channels = 1 if slope == "sample" else feature.shape[1]
            maps.append(_evidence(F.adaptive_avg_pool1d(k[:, None], channels)[:, 0], feature))
        terms.append((maps[0] - maps[1]).square().mean())
    loss = _gsdm(slope=slope, clamp=clamp)
    torch.testing.assert_close(loss(student, teacher), torch.stack(terms).mean())


def test_the_gradient_reaches_every_map_of_several_positions_and_not_the_slope() -> None:
    student = features()
    _gsdm()(student, teacher_features()).backward()
    assert all(stage.grad is not None and stage.grad.abs().max() > 1e-7 for stage in student.stages[:3])
    assert student.logits.grad is None


def test_the_size_of_a_samples_slope_cancels_and_that_of_a_channels_does_not() -> None:
    student, teacher = features(seed=3, **SAME), teacher_features(**SAME)
    sharper = student.replace(logits=student.logits.detach() * 0.5)
    assert sharper.logits.argmax(1).equal(student.logits.argmax(1))
    per_sample, per_channel = (abs(_gsdm(slope=s)(student, teacher) - _gsdm(slope=s)(sharper, teacher)) for s in SLOPES)
    assert per_sample < 1e-12
    assert per_channel > 1e-6


@pytest.mark.parametrize("slope", SLOPES)
def test_where_the_ablation_changes_nothing_nothing_is_learnt_and_the_reading_says_so(slope: str) -> None:
    student = features()
    student = student.replace(ablated_logits=student.logits.detach())
    loss = _gsdm(slope=slope)
    assert loss.diagnostics() == {}
    loss(student, teacher_features()).backward()
    assert all(stage.grad is None or (stage.grad == 0).all() for stage in student.stages[:3])
    assert loss.diagnostics()["constant_share"] == 1
    loss(features(), teacher_features())
    assert loss.diagnostics()["constant_share"] == 0


@pytest.mark.parametrize("params", [{}, {"slope": "channel", "slope_clip": None, "clamp": False}])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e4, 1e15])
def test_it_is_finite_for_every_scale(scale: float, autocast: bool, params: dict[str, Any]) -> None:
    student, teacher = features(4, scale=scale), teacher_features(4, scale=scale)
    if autocast:
        student, teacher = (changed(x, lambda t: t.detach().bfloat16().requires_grad_()) for x in (student, teacher))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = _gsdm(**params)(student, teacher)
    value.backward()
    assert value.isfinite()
    assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in tensors(student))


def test_the_label_vectors_are_not_saved_and_nothing_is_learnt() -> None:
    assert not _gsdm().state_dict()
    assert "label_vectors" in dict(_gsdm().named_buffers())
    assert not list(_gsdm().parameters())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"slope": "channels"}, "did you mean 'channel'"),
        ({"ablation": "channels"}, "did you mean 'channel'"),
        ({"eps": 0}, "expected positive numbers"),
        ({"slope_clip": -1}, "expected positive numbers"),
        ({"stages": [4]}, "stage 4 is asked for"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _gsdm(**params)


def test_what_it_cannot_work_without_is_said() -> None:
    with pytest.raises(UsageError, match="needs vectors of the label names"):
        SemanticallyDiscriminativeMapping(replace(context(), label_vectors=None))
    with pytest.raises(UsageError, match="needs the logits of the ablated input"):
        _gsdm()(features().replace(ablated_logits=None), teacher_features())
