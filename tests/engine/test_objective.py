"""The objective: weights, branches, projectors, and what is said when a loss does not fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from kdbench import loss
from kdbench.engine.objective import Objective, declared_needs
from kdbench.errors import UsageError
from kdbench.recipe import LossTerm
from kdbench.registry import registry
from kdbench.types import Batch, Context, Features, Widths

B, K = 4, 5
STUDENT, TEACHER = Widths(K, (4, 6, 8, 10), 10), Widths(K, (4, 5, 8, 12), 12)


def features(widths: Widths, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, requires_grad=True)

    stages = tuple(draw(B, c, 3, 3) for c in widths.stages)
    return Features(draw(B, K), stages, draw(B, widths.embedding))


def batch() -> Batch:
    trials = tuple(f"a{i}_s1_t1" for i in range(B))
    return Batch({}, None, torch.arange(B) % K, trials, torch.arange(B))


@pytest.fixture
def added() -> Iterator[list[str]]:
    """Names of losses that a test adds; they are gone after it."""
    names: list[str] = []
    yield names
    for name in names:
        registry("loss")._added.pop(name)


def objective(terms: dict[str, LossTerm], teachers: tuple[Widths, ...] = (TEACHER,)) -> Objective:
    return Objective(terms, Context(K, STUDENT, teachers), owner="student")


def test_the_sum_is_weighted_and_the_values_are_not() -> None:
    terms = {"ce": LossTerm(weight=2.0), "st": LossTerm(weight=0.5)}
    total, values = objective(terms)([features(STUDENT, 0)], [features(TEACHER, 1)], batch())
    assert torch.allclose(total, 2.0 * values[0] + 0.5 * values[1])


def test_a_weight_of_zero_changes_nothing_even_where_the_term_is_undefined(added: list[str]) -> None:
    @loss("broken", on="logits")
    def broken(student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).sum() * float("nan")

    registry("loss").add(broken)
    added.append("broken")
    student, teacher = features(STUDENT, 0), features(TEACHER, 1)
    alone, _ = objective({"ce": LossTerm()})([student], [teacher], batch())
    total, values = objective({"ce": LossTerm(), "broken": LossTerm(weight=0)})([student], [teacher], batch())
    assert torch.equal(total, alone)
    assert values[1].isnan()


def test_terms_are_averaged_over_teacher_branches() -> None:
    student, first, second = features(STUDENT, 0), features(TEACHER, 1), features(TEACHER, 2)
    one = objective({"st": LossTerm()})
    both = objective({"st": LossTerm()}, (TEACHER, TEACHER))
    expected = (one([student], [first], batch())[0] + one([student], [second], batch())[0]) / 2
    assert torch.allclose(both([student], [first, second], batch())[0], expected)


def test_a_supervised_term_is_averaged_over_the_branches_in_training() -> None:
    first, second = features(STUDENT, 0), features(STUDENT, 1)
    ce = objective({"ce": LossTerm()}, ())
    expected = (ce([first], [], batch())[0] + ce([second], [], batch())[0]) / 2
    assert torch.allclose(ce([first, second], [], batch())[0], expected)


def test_unlike_widths_get_a_learnt_linear_on_the_students_side(added: list[str]) -> None:
    @loss("distance", on="embedding")
    def distance(student: Tensor, teacher: Tensor) -> Tensor:
        assert student.shape == teacher.shape
        return (student - teacher.detach()).square().mean()

    registry("loss").add(distance)
    added.append("distance")
    built = objective({"distance": LossTerm()})
    student, teacher = features(STUDENT, 0), features(TEACHER, 1)
    built([student], [teacher], batch())[0].backward()
    (layer,) = [module for module in built.modules() if isinstance(module, nn.Linear)]
    assert (layer.in_features, layer.out_features) == (10, 12)
    assert layer.weight.grad is not None
    assert student.embedding.grad is not None


def test_stage_projectors_map_channels_and_leave_equal_ones(added: list[str]) -> None:
    @loss("maps", on="stages")
    def maps(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([(s - t).square().mean() for s, t in zip(student, teacher, strict=True)]).sum()

    registry("loss").add(maps)
    added.append("maps")
    built = objective({"maps": LossTerm()})
    total, _ = built([features(STUDENT, 0)], [features(TEACHER, 1)], batch())
    assert total.isfinite()
    layers = [(m.in_features, m.out_features) for m in built.modules() if isinstance(m, nn.Linear)]
    assert layers == [(6, 5), (10, 12)]


def test_a_loss_may_take_all_branches_and_the_batch(added: list[str]) -> None:
    seen = {}

    @loss("nearest", on="logits", all_teachers=True)
    def nearest(student: Tensor, teachers: list[Tensor], batch: Batch) -> Tensor:
        seen["branches"], seen["trials"] = len(teachers), batch.trial
        return torch.stack([(student - t).square().mean() for t in teachers]).min()

    registry("loss").add(nearest)
    added.append("nearest")
    built = objective({"nearest": LossTerm()}, (TEACHER, TEACHER))
    built([features(STUDENT, 0)], [features(TEACHER, 1), features(TEACHER, 2)], batch())
    assert seen == {"branches": 2, "trials": batch().trial}


@pytest.mark.parametrize(
    ("terms", "teachers", "said"),
    [
        ({"sttt": LossTerm()}, (TEACHER,), "unknown loss 'sttt'"),
        ({"st": LossTerm.model_validate({"weight": 1, "temprature": 2})}, (TEACHER,), "did you mean 'temperature'"),
        ({"st": LossTerm()}, (), "student.losses.st compares with a teacher"),
    ],
)
def test_what_does_not_fit_is_said_before_any_training(
    terms: dict[str, LossTerm], teachers: tuple[Widths, ...], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        objective(terms, teachers)
    assert said in str(caught.value)


def test_a_loss_that_returns_a_vector_is_refused(added: list[str]) -> None:
    @loss("vector", on="logits")
    def vector(student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).square().mean(1)

    registry("loss").add(vector)
    added.append("vector")
    with pytest.raises(UsageError, match=r"returned \(4,\), expected a scalar"):
        objective({"vector": LossTerm()})([features(STUDENT, 0)], [features(TEACHER, 1)], batch())


def test_needs_are_known_before_anything_is_built() -> None:
    assert declared_needs(["ce", "st"]) == frozenset()
    assert declared_needs(["sgm"]) == {"ablated_logits", "label_vectors"}
    assert "semantic" in declared_needs(["se"])
