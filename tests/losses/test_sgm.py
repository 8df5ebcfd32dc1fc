"""Semantic graph mapping: the slope, the map and the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from loss_cases import (
    CLASSES,
    SPACE,
    STUDENT_CHANNELS,
    TEACHER_CHANNELS,
    changed,
    context,
    features,
    teacher_features,
    tensors,
)
from sweep import swept
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.losses.sgm import SemanticGraphMapping, semantic_map, semantic_slope
from kdbench.testing import check
from kdbench.types import Features


def _scores(samples: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, CLASSES, generator=generator, dtype=torch.float64).to(dtype)


def _vectors(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(CLASSES, SPACE, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)


def _sgm(**params: Any) -> SemanticGraphMapping:
    torch.manual_seed(0)
    return SemanticGraphMapping(context(), **params)


def _smoothed(scores: Tensor, vectors: Tensor) -> Tensor:
    """L E, sample by sample."""
    samples = range(len(scores))
    w = torch.stack(
        [torch.stack([(-(scores[i] - scores[j]).square().sum() / 2).exp() for j in samples]) for i in samples]
    )
    degree = [w[i].sum() for i in samples]
    rows = [
        sum(w[i, j] / (degree[i] * degree[j]).sqrt() * vectors[scores[j].argmax()] for j in samples) for i in samples
    ]
    return torch.stack(rows)


class TestSlope:
    def test_it_is_the_relative_change_of_the_smoothed_vectors(self) -> None:
        scores, ablated, vectors = _scores(), _scores(seed=1), _vectors()
        smoothed = _smoothed(scores, vectors)
        expected = (smoothed - _smoothed(ablated, vectors)) / smoothed
        torch.testing.assert_close(semantic_slope(scores, ablated, vectors), expected)

    def test_it_is_zero_where_the_ablated_input_changes_nothing(self) -> None:
        assert (semantic_slope(_scores(), _scores(), _vectors()) == 0).all()

    def test_small_denominators_take_eps_with_their_sign_and_zero_is_positive(self) -> None:
        scores, ablated = torch.eye(2)[:1], torch.eye(2)[1:]
        vectors = torch.tensor([[0.0, 1e-9, -1e-9, -0.5], [1.0, 1.0, 1.0, 1.0]])
        slope = semantic_slope(scores, ablated, vectors, eps=1e-3)
        torch.testing.assert_close(slope, torch.tensor([[-1e3, -1e3, 1e3, 3.0]]))

    def test_it_is_clipped_only_when_asked(self) -> None:
        scores, ablated, vectors = _scores(16), _scores(16, seed=1), _vectors()
        free, clipped = (semantic_slope(scores, ablated, vectors, clip=clip) for clip in (None, 2.0))
        assert free.abs().max() > 10
        torch.testing.assert_close(clipped, free.clamp(-2, 2))

    @swept("dtype", [torch.bfloat16, torch.float32])
    @swept("scale", [0.0, 1.0, 1e4, 1e30])
    @swept("vectors", [torch.zeros(CLASSES, SPACE), torch.ones(CLASSES, SPACE), 1e30 * _vectors()])
    @swept("samples", [1, 4])
    def test_it_is_finite_for_every_finite_input(
        self, samples: int, vectors: Tensor, scale: float, dtype: torch.dtype
    ) -> None:
        scores = (scale * _scores(samples)).to(dtype).requires_grad_()
        slope = semantic_slope(scores, (scale * _scores(samples, seed=1)).to(dtype), vectors.float())
        assert slope.dtype == torch.float32
        assert slope.isfinite().all()
        slope.clamp(-1, 1).sum().backward()
        assert scores.grad is not None
        assert scores.grad.isfinite().all()


class TestMap:
    def test_channels_are_normalised_at_every_position(self) -> None:
        slope, feature = torch.randn(3, SPACE), torch.randn(3, 6, 4, 5)
        mapped = semantic_map(slope, feature)
        assert mapped.shape == feature.shape
        torch.testing.assert_close(mapped.mean(1), torch.zeros(3, 4, 5), atol=1e-5, rtol=0)
        pooled = torch.stack([slope[:, 2 * c : 2 * c + 2].mean(1) for c in range(6)], 1)
        weighted = pooled[:, :, None, None] * feature
        variance, mean = torch.var_mean(weighted, 1, correction=0, keepdim=True)
        torch.testing.assert_close(mapped, (weighted - mean) / (variance + 1e-5).sqrt())

    def test_a_slope_equal_in_all_channels_cancels(self) -> None:
        feature = torch.randn(2, 6, 4, dtype=torch.float64)
        ones = torch.ones(2, SPACE, dtype=torch.float64)
        torch.testing.assert_close(semantic_map(3 * ones, feature), semantic_map(ones, feature), rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("channels", [1, 5, SPACE, 40])
    def test_the_slope_is_pooled_to_any_number_of_channels(self, channels: int) -> None:
        assert semantic_map(torch.randn(2, SPACE), torch.randn(2, channels, 3)).shape == (2, channels, 3)

    @swept("slope", [0.0, 1e-20, 1e6, 3e38])
    @swept("size", [0.0, 1e-20, 1e20, 3e38])
    def test_it_is_finite_for_every_finite_input(self, slope: float, size: float) -> None:
        feature = (size * torch.tensor([[1.0, -1.0, 0.5], [0.0, 1.0, 1.0]])[:, :, None]).requires_grad_()
        mapped = semantic_map(torch.full((2, 3), slope), feature)
        mapped.square().sum().backward()
        assert mapped.isfinite().all()
        assert feature.grad is not None
        assert feature.grad.isfinite().all()


class TestLoss:
    def test_it_is_the_mean_over_the_stages_of_the_difference_of_the_maps(self) -> None:
        student, teacher = (
            features(dtype=torch.float64, channels=TEACHER_CHANNELS, grids=((4, 4),) * 4, seed=seed) for seed in (0, 1)
        )
        setting = context(student=TEACHER_CHANNELS)
        vectors = setting.label_vectors.double()
        slopes = []
        for given in (student, teacher):
            smoothed = _smoothed(given.logits.softmax(1), vectors)
            ablated = _smoothed(given.ablated_logits.softmax(1), vectors)
            slopes.append(((smoothed - ablated) / smoothed).clamp(-10, 10))
        terms = [
            (semantic_map(slopes[0], student.stages[i]) - semantic_map(slopes[1], teacher.stages[i])).square().mean()
            for i in range(3)
        ]
        loss = SemanticGraphMapping(setting)
        torch.testing.assert_close(loss(student, teacher), sum(terms) / 3)

    def test_the_gradient_reaches_every_chosen_stage_where_predictions_differ(self) -> None:
        student = features()
        _sgm()(student, teacher_features()).backward()
        assert all(stage.grad is not None and stage.grad.abs().max() > 1e-6 for stage in student.stages[:3])
        assert student.stages[3].grad is None
        assert student.logits.grad is None

    def test_there_is_no_gradient_where_the_ablated_input_changes_nothing_and_the_reading_says_so(self) -> None:
        student = features()
        student = student.replace(ablated_logits=student.logits.detach())
        loss = _sgm()
        assert loss.diagnostics() == {}
        loss(student, teacher_features()).backward()
        assert all(stage.grad is None or (stage.grad == 0).all() for stage in student.stages)
        assert loss.diagnostics()["constant_share"] == 1
        loss(features(), teacher_features())
        assert loss.diagnostics()["constant_share"] == 0

    def test_the_gradient_passes_through_the_slope_only_when_asked(self) -> None:
        student = features()
        _sgm(slope_gradient=True)(student, teacher_features()).backward()
        assert student.logits.grad is not None
        assert student.logits.grad.abs().max() > 0
        assert student.ablated_logits.grad is None

    @pytest.mark.parametrize(
        "params", [{"scores": "logits"}, {"slope_clip": None}, {"slope_clip": 0.1}, {"eps": 0.5}, {"stages": [0]}]
    )
    def test_every_decision_has_an_effect(self, params: dict[str, Any]) -> None:
        student, teacher = features(samples=8), teacher_features(samples=8)
        assert abs(_sgm(**params)(student, teacher) - _sgm()(student, teacher)) > 1e-5

    def test_a_linear_stands_where_channels_differ_and_is_shared_by_branches_of_one_width(self) -> None:
        loss = SemanticGraphMapping(context(teachers=(TEACHER_CHANNELS, TEACHER_CHANNELS, STUDENT_CHANNELS)))
        shapes = {name: tuple(weight.shape) for name, weight in loss.named_parameters()}
        assert shapes == {
            "projections.stage_1_to_5.weight": (5, 6),
            "projections.stage_1_to_5.bias": (5,),
        }
        loss(features(), teacher_features()).backward()
        assert all(weight.grad.abs().max() > 0 for weight in loss.parameters())

    @swept("params", [{}, {"slope_clip": None, "slope_gradient": True}, {"scores": "logits"}])
    @swept("autocast", [False, True])
    @swept("samples", [1, 4])
    @swept("scale", [0.0, 1e-30, 1.0, 1e4, 1e30])
    def test_it_is_finite_for_every_finite_input(
        self, scale: float, samples: int, autocast: bool, params: dict[str, Any]
    ) -> None:
        student, teacher = features(samples, scale=scale), teacher_features(samples, scale=scale)
        if autocast:
            student, teacher = (
                changed(given, lambda t: t.detach().bfloat16().requires_grad_()) for given in (student, teacher)
            )
        loss = _sgm(**params)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss(student, teacher)
        value.backward()
        assert value.isfinite()
        gradients = [tensor.grad for tensor in (*tensors(student), *loss.parameters()) if tensor.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)

    def test_the_label_vectors_are_not_saved(self) -> None:
        assert "label_vectors" not in _sgm().state_dict()
        assert "label_vectors" in dict(_sgm().named_buffers())


class TestBadRequests:
    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"scores": "logit"}, "did you mean 'logits'"),
            ({"ablation": "channels"}, "did you mean 'channel'"),
            ({"eps": 0}, "expected positive numbers"),
            ({"slope_clip": -1}, "expected positive numbers"),
            ({"stages": [4]}, "stage 4 is asked for"),
        ],
    )
    def test_a_parameter_that_does_not_exist_is_refused(self, params: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            _sgm(**params)

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"label_vectors": None}, "needs vectors of the label names"), ({"teachers": ()}, "there is none")],
    )
    def test_what_it_cannot_be_built_from_is_said(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            SemanticGraphMapping(replace(context(), **change))

    def test_a_network_without_an_ablated_pass_is_refused(self) -> None:
        student: Features = features().replace(ablated_logits=None)
        with pytest.raises(UsageError, match="needs the logits of the ablated input"):
            _sgm()(student, teacher_features())


class TestChoicesOfTheirOwn:
    """What the paper does not say, as parameters."""

    @pytest.mark.parametrize(
        ("pooling", "expected"),
        [
            ("adaptive", [[1.5, 3.5]]),
            ("linear", [[1.5, 3.5]]),
            ("first", [[1.0, 2.0]]),
        ],
    )
    def test_the_slope_comes_to_the_channels_in_one_of_three_ways(self, pooling: Any, expected: Any) -> None:
        slope, feature = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[[2.0], [5.0]]])
        weighted = torch.tensor(expected)[..., None] * feature
        mapped = semantic_map(slope, feature, pooling=pooling)
        normalised = torch.nn.functional.layer_norm(weighted[..., 0], (2,), eps=1e-5)
        torch.testing.assert_close(mapped[..., 0], normalised)

    def test_the_first_entries_are_repeated_where_there_are_too_few(self) -> None:
        slope, feature = torch.tensor([[1.0, -2.0]]), torch.ones(1, 3, 1)
        mapped = semantic_map(slope, feature, pooling="first")
        expected = torch.nn.functional.layer_norm(torch.tensor([[1.0, -2.0, 1.0]]), (3,), eps=1e-5)
        torch.testing.assert_close(mapped[..., 0], expected)

    def test_the_order_of_alignment_and_normalisation_is_a_choice(self) -> None:
        student, teacher = features(), teacher_features()
        first, last = (_sgm(order=order)(student, teacher) for order in ("align_first", "map_first"))
        assert first.isfinite()
        assert last.isfinite()
        assert abs((first - last).item()) > 1e-4

    def test_the_graph_of_features_has_the_pooled_features_as_nodes(self) -> None:
        student = features(samples=8)
        given, vectors = student.logits.softmax(1), context().label_vectors
        nodes = student.embedding / student.embedding.norm(dim=1, keepdim=True)
        # All rows of an ablated input are equal, and so are the edges between them.
        ablated = student.ablated_logits.softmax(1)[:1].expand(8, -1)
        student = replace(student, ablated_logits=student.ablated_logits[:1].expand(8, -1))
        distances = (nodes[:, None] - nodes).square().sum(2)
        affinity = (distances / -2).exp()
        degree = affinity.sum(1)
        smoothed = affinity / (degree[:, None] * degree).sqrt() @ vectors[given.argmax(1)]
        without = vectors[ablated[0].argmax()]
        expected = ((smoothed - without) / smoothed).clamp(-10, 10)
        torch.testing.assert_close(_sgm(graph="features")._slope(student), expected, rtol=1e-3, atol=1e-4)
        assert (_sgm()._slope(student) - expected).abs().max() > 1e-3

    @pytest.mark.parametrize("size", [0.0, 1e-30, 1e18])
    def test_the_graph_of_features_is_finite_for_every_finite_feature(self, size: float) -> None:
        student, teacher = (replace(f(), embedding=size * f().embedding) for f in (features, teacher_features))
        assert _sgm(graph="features")(student, teacher).isfinite()

    def test_the_loss_on_the_graph_of_features_keeps_its_promises(self) -> None:
        report = check("loss", "sgm", params={"graph": "features"})
        assert report.passed, str(report)

    def test_a_gain_of_the_students_layer_norm_is_learnt(self) -> None:
        plain, affine = _sgm(), _sgm(affine=True)
        student, teacher = features(), teacher_features()
        torch.testing.assert_close(affine(student, teacher), plain(student, teacher))
        affine(student, teacher).backward()
        learnt = [*affine.gains.values(), *affine.biases.values()]
        assert learnt
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in learnt)

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"order": "map_frist"}, "did you mean 'map_first'"),
            ({"slope_pooling": "lineer"}, "did you mean 'linear'"),
            ({"graph": "feature"}, "did you mean 'features'"),
            ({"graph": "features", "ablation": "channel"}, "does not go with ablation = channel"),
        ],
    )
    def test_other_choices_are_refused(self, params: dict[str, Any], words: str) -> None:
        with pytest.raises(UsageError, match=words):
            _sgm(**params)
