"""The series of the sensors, predicted from the student's tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from loss_cases import LENGTH, SERIES, SOURCES, STUDENT_CHANNELS, batch_of, context, features
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.series import SeriesPrediction, over_time
from kdbench.types import Batch

BATCH = batch_of().mapped(Tensor.double)


def _loss(**params: Any) -> SeriesPrediction:
    torch.manual_seed(0)
    return SeriesPrediction(context(), **params).double()


def _stages(**options: Any) -> tuple[Tensor, ...]:
    return features(dtype=torch.float64, **options).stages


def _reference(loss: SeriesPrediction, stages: tuple[Tensor, ...], batch: Batch, beta: float = 1.0) -> float:
    """The same in NumPy: linear interpolation between the centres of the tokens, held constant beyond them."""
    feature = stages[loss.stage].detach().numpy()
    tokens = feature.mean(axis=tuple(range(3, feature.ndim))) if feature.ndim != 4 else feature.mean(axis=2)
    count, terms = tokens.shape[2], []
    for place, source in enumerate(loss.sources):
        mean, deviation = (value.numpy()[:, None] for value in context().series[source])
        target = (batch.sensors[source].numpy() - mean) / deviation
        weight, bias = (p.detach().numpy() for p in loss.heads[place].parameters())
        predicted = np.einsum("ac,bct->bat", weight, tokens) + bias[:, None]
        if loss.resample == "prediction":
            at = (np.arange(target.shape[2]) + 0.5) * count / target.shape[2] - 0.5
            rows = [[np.interp(at, np.arange(count), axis) for axis in trial] for trial in predicted]
            predicted = np.array(rows)
        else:
            target = np.stack([part.mean(-1) for part in np.split(target, count, axis=2)], axis=2)
        error = np.abs(predicted - target)
        terms.append(np.where(error < beta, error**2 / (2 * beta), error - beta / 2).mean())
    return float(np.mean(terms))


@pytest.mark.parametrize("resample", ["prediction", "target"])
@pytest.mark.parametrize("stage", [1, 2, -1])
def test_it_is_smooth_l1_of_the_standardised_series(resample: Any, stage: int) -> None:
    loss, stages = _loss(resample=resample, stage=stage, beta=0.5), _stages()
    assert loss(stages, batch=BATCH).item() == pytest.approx(_reference(loss, stages, BATCH, 0.5), rel=1e-9)


def test_tokens_follow_the_time_of_clips_images_and_series() -> None:
    clip, image, series = torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 4)
    assert over_time(clip).equal(clip.mean((3, 4)))
    assert over_time(image).equal(image.mean(2))
    assert over_time(series) is series
    loss, stages = _loss(), _stages(grids=SERIES)
    assert loss(stages, batch=BATCH).item() == pytest.approx(_reference(loss, stages, BATCH), rel=1e-9)


def test_it_predicts_what_it_is_told_to() -> None:
    loss, stages = _loss(sources=["skeleton"]), _stages()
    assert [head.out_features for head in loss.heads] == [SOURCES["skeleton"]]
    lacking = BATCH.replace(sensors={"skeleton": BATCH.sensors["skeleton"]})
    assert loss(stages, batch=lacking).item() == pytest.approx(_reference(loss, stages, BATCH), rel=1e-9)
    assert _loss().sources == tuple(SOURCES)


def test_sources_count_the_same_however_many_axes_they_have() -> None:
    stages = _stages()
    both, each = _loss(), [_loss(sources=[name]) for name in SOURCES]
    for one, head in zip(each, both.heads, strict=True):
        one.heads[0].load_state_dict(head.state_dict())
    torch.testing.assert_close(
        both(stages, batch=BATCH), torch.stack([one(stages, batch=BATCH) for one in each]).mean()
    )


def test_an_axis_that_never_moves_has_no_scale() -> None:
    still = {"gyroscope": (torch.full((3,), 2.0), torch.tensor([0.0, 1.0, 1.0]))}
    loss = SeriesPrediction(dataclasses.replace(context(), series=still)).double()
    flat = Batch({"gyroscope": torch.full((5, 3, LENGTH), 2.0)}, None, BATCH.label, BATCH.trial, BATCH.index)
    assert loss(_stages(), batch=flat).isfinite()


def test_a_source_has_one_scale_for_axes_of_one_unit() -> None:
    moving = {"gyroscope": (torch.zeros(3), torch.tensor([0.0, 3.0, 4.0]))}
    unlike, alike = (
        SeriesPrediction(dataclasses.replace(context(), series=moving), scale=scale).double()
        for scale in ("axis", "source")
    )
    assert unlike.scale0.flatten().tolist() == [1, 3, 4]
    torch.testing.assert_close(alike.scale0, torch.full((3, 1), (25 / 3) ** 0.5, dtype=torch.float64))


def test_without_a_head_the_channels_are_the_axes() -> None:
    stages = _stages()
    loss = _loss(head="none", stage=1, sources=["skeleton"], resample="target", beta=0.5)
    assert not list(loss.parameters())
    mean, deviation = context().series["skeleton"]
    target = (BATCH.sensors["skeleton"] - mean[:, None]) / deviation[:, None]
    tokens = over_time(stages[1])
    parts = torch.stack([part.mean(-1) for part in target.chunk(tokens.shape[2], dim=2)], dim=2)
    expected = torch.nn.functional.smooth_l1_loss(tokens, parts, beta=0.5)
    torch.testing.assert_close(loss(stages, batch=BATCH), expected)


def test_a_stage_that_it_teaches_alone_is_named() -> None:
    assert _loss().shields == ()
    assert _loss(stage=-1, alone=True).shields == (len(STUDENT_CHANNELS) - 1,)


def test_the_gradient_is_the_slope() -> None:
    loss, stages = _loss(), _stages(samples=2)
    batch = BATCH.head(2)
    torch.autograd.gradcheck(lambda x: loss([*stages[:2], x, stages[3]], batch=batch), stages[2])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"beta": 0}, "series: beta is 0"),
        ({"resample": "predictions"}, "did you mean 'prediction'"),
        ({"scale": "axes"}, "did you mean 'axis'"),
        ({"sources": []}, "sources is empty"),
        ({"head": "non"}, "did you mean 'none'"),
        ({"head": "none"}, r"\(8\); axes of the sources: 3 \(gyroscope\), 6 \(skeleton\)"),
        ({"head": "none", "stage": 1, "sources": ["gyroscope"]}, r"channels \(6\); axes of the sources: 3"),
        ({"sources": ["gyroscop"]}, "did you mean 'gyroscope'"),
        ({"stage": 4}, f"stage 4 is asked for; the student has {len(STUDENT_CHANNELS)} stages"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _loss(**params)
