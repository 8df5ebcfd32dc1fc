"""The objective: weights, branches, projectors, and what is said when a loss does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import loss
from kdbench.engine.objective import Objective, declared_needs
from kdbench.errors import RunFailed, UsageError
from kdbench.recipes.terms import LossTerm
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


def test_a_loss_reads_the_classifiers_of_the_pair_and_owns_neither(added: list[str]) -> None:
    @loss("applied", on="embedding", project=False, needs=("student_classifiers", "teacher_classifiers"))
    class Applied(nn.Module):
        def __init__(self, context: Context) -> None:
            super().__init__()
            self.classifiers = context.student_classifiers + context.teacher_classifiers

        def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
            ours, theirs = self.classifiers
            return (ours(student) - theirs(teacher)).square().mean()

    registry("loss").add(Applied)
    added.append("applied")
    ours = tuple(nn.Linear(STUDENT.embedding, K) for _ in range(2))
    theirs = tuple(nn.Linear(TEACHER.embedding, K).requires_grad_(False) for _ in range(3))
    context = Context(K, STUDENT, (TEACHER,) * 3, student_classifiers=ours, teacher_classifiers=theirs)
    built = Objective({"applied": LossTerm()}, context, owner="student")
    assert not list(built.parameters())
    assert not built.state_dict()
    students, teachers = ([features(each, seed) for seed in range(n)] for each, n in ((STUDENT, 2), (TEACHER, 3)))
    value, _ = built(students, teachers, batch())
    pairs = [
        (own(student.embedding) - target(teacher.embedding)).square().mean()
        for own, student in zip(ours, students, strict=True)
        for target, teacher in zip(theirs, teachers, strict=True)
    ]
    torch.testing.assert_close(value, torch.stack(pairs).mean())
    value.backward()
    assert all(layer.weight.grad is not None for layer in ours)
    built.double()
    assert all(layer.weight.dtype == torch.float64 for layer in (*ours, *theirs))
    with pytest.raises(UsageError, match=r"student\.losses\.applied needs the classifier of the student"):
        objective({"applied": LossTerm()})


def test_a_loss_is_told_how_far_the_training_is(added: list[str]) -> None:
    @loss("patient", on="logits", project=False)
    class Patient(nn.Module):
        share = -1.0

        def at(self, progress: float) -> None:
            self.share = progress

        def forward(self, student: Tensor, _teacher: Tensor) -> Tensor:
            return self.share * student.square().mean()

    registry("loss").add(Patient)
    added.append("patient")
    built = objective({"patient": LossTerm()}, (TEACHER, TEACHER))
    student = features(STUDENT, 0)
    for progress in (0.0, 0.25, 0.75):
        value, _ = built([student], [features(TEACHER, 1), features(TEACHER, 2)], batch(), progress)
        torch.testing.assert_close(value, progress * student.logits.square().mean())


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


def test_losses_that_want_unlike_ablations_are_refused() -> None:
    context = Context(3, STUDENT, (TEACHER,), label_vectors=torch.randn(3, 4))
    terms = {"sgm": LossTerm(), "gsdm": LossTerm.model_validate({"ablation": "channel"})}
    said = "student.losses.sgm wants the ablation 'all' and student.losses.gsdm 'channel'"
    with pytest.raises(UsageError, match=re.escape(said)):
        Objective(terms, context, owner="student")


def test_a_loss_that_returns_a_vector_is_refused(added: list[str]) -> None:
    @loss("vector", on="logits")
    def vector(student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).square().mean(1)

    registry("loss").add(vector)
    added.append("vector")
    with pytest.raises(UsageError, match=r"returned \(4,\), expected a scalar"):
        objective({"vector": LossTerm()})([features(STUDENT, 0)], [features(TEACHER, 1)], batch())


@pytest.mark.parametrize("name", ["wear:cosine", "my.dist:cosine", "my_dist:cosine", "keys", "training"])
def test_a_loss_may_have_any_name(name: str, added: list[str]) -> None:
    @loss(name, on="embedding", project=False)
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
            return self.scale * (student.mean() - teacher.mean()).square()

    registry("loss").add(Scaled)
    added.append(name)
    assert declared_needs([name]) == frozenset()
    built = objective({"ce": LossTerm(), name: LossTerm()})
    assert built.names == ["ce", name]
    built([features(STUDENT, 0)], [features(TEACHER, 1)], batch())[0].backward()
    assert len(list(built.parameters())) == 1
    built.load_state_dict({key: value + 1 for key, value in built.state_dict().items()})


def test_names_that_differ_in_a_dot_do_not_share_a_place(added: list[str]) -> None:
    for name in ("a.b", "a_b", "a%2Eb"):
        registry("loss").add(loss(name, on="logits")(lambda student, teacher: (student - teacher).mean()))
        added.append(name)
    assert objective({name: LossTerm() for name in added}).names == ["a.b", "a_b", "a%2Eb"]


def test_a_watched_term_that_is_undefined_leaves_every_gradient_alone(added: list[str]) -> None:
    @loss("broken", on="logits")
    def broken(student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).sum() * float("nan")

    registry("loss").add(broken)
    added.append("broken")
    student, teacher = features(STUDENT, 0), features(TEACHER, 1)
    objective({"ce": LossTerm(), "broken": LossTerm(weight=0)})([student], [teacher], batch())[0].backward()
    assert student.logits.grad is not None
    assert student.logits.grad.isfinite().all()


def test_every_weight_zero_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"student\.losses: every loss has weight 0"):
        objective({"ce": LossTerm(weight=0), "st": LossTerm(weight=0)})
    falling = {"schedule": "linear", "from": 1, "to": 0, "end": 0.4}
    with pytest.raises(UsageError, match="every loss has weight 0 after 40% of the training"):
        objective({"ce": LossTerm.model_validate({"weight": falling})})


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"on": "embeddings"}, "unknown field in 'on' of the loss 'odd': 'embeddings'; did you mean 'embedding'"),
        ({"on": "ablated_logits"}, "unknown field in 'on' of the loss 'odd': 'ablated_logits'"),
        ({"reads": ("logit",)}, "unknown field in 'reads' of the loss 'odd': 'logit'; did you mean 'logits'"),
        ({"needs": ("semantics",)}, "unknown field in 'needs' of the loss 'odd': 'semantics'; did you mean 'semantic'"),
    ],
)
def test_a_field_that_does_not_exist_is_refused(declared: dict[str, Any], said: str, added: list[str]) -> None:
    registry("loss").add(loss("odd", **declared)(lambda student, teacher: (student.logits - teacher.logits).mean()))
    added.append("odd")
    for ask in (lambda: declared_needs(["odd"]), lambda: objective({"odd": LossTerm()})):
        with pytest.raises(UsageError) as caught:
            ask()
        assert said in str(caught.value)


@pytest.mark.parametrize("declared", [{"on": "semantic"}, {"reads": ("semantic",), "needs": ("semantic",)}])
def test_a_field_that_a_network_lacks_is_refused(declared: dict[str, Any], added: list[str]) -> None:
    registry("loss").add(loss("meaning", **declared)(lambda student, teacher: (student - teacher).mean()))
    added.append("meaning")
    knows = replace(STUDENT, semantic=7)
    with pytest.raises(UsageError, match="the teacher has none") as caught:
        Objective({"meaning": LossTerm()}, Context(K, knows, (TEACHER,)), owner="student")
    assert "--set teacher.losses.se.weight=0.5" in str(caught.value)
    with pytest.raises(
        UsageError, match=r"student\.losses\.meaning reads 'semantic', and the network in training has no"
    ):
        objective({"meaning": LossTerm()})


def test_an_error_inside_a_loss_names_the_loss_its_line_and_its_input(added: list[str]) -> None:
    @loss("slips", on="stages")
    def slips(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
        return (student[4] - teacher[4]).mean()

    registry("loss").add(slips)
    added.append("slips")
    built = objective({"slips": LossTerm()})
    with pytest.raises(UsageError) as caught:
        built([features(STUDENT, 0)], [features(TEACHER, 1)], batch())
    text = str(caught.value)
    assert isinstance(caught.value.__cause__, IndexError)
    assert "student.losses.slips (" in text
    assert "this process) raised IndexError in line " in text
    assert "tuple index out of range" in text
    assert "the student's stages: [(4, 4, 3, 3), (4, 6, 3, 3)" in text
    assert "the teacher's: [(4, 4, 3, 3), (4, 5, 3, 3)" in text
    assert "kdbench describe slips" in text


def test_an_error_of_a_loss_that_has_worked_is_a_failed_run(added: list[str]) -> None:
    @loss("tires", on="logits")
    class Tires(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = 1

        def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise ValueError("no more")
            return (student - teacher).mean()

    registry("loss").add(Tires)
    added.append("tires")
    built = objective({"tires": LossTerm()})
    built([features(STUDENT, 0)], [features(TEACHER, 1)], batch())
    with pytest.raises(RunFailed, match=r"student\.losses\.tires .* raised ValueError in line \d+: no more"):
        built([features(STUDENT, 0)], [features(TEACHER, 1)], batch())


def test_maps_of_the_wrong_rank_name_the_loss_and_what_was_expected() -> None:
    flat = features(TEACHER, 1)
    flat = flat.replace(stages=tuple(stage.mean((2, 3)) for stage in flat.stages))
    with pytest.raises(UsageError) as caught:
        objective({"at": LossTerm.model_validate({"align": "features"})})([features(STUDENT, 0)], [flat], batch())
    assert "student.losses.at: the teacher's map has shape (4, 4)" in str(caught.value)
    assert "expected (batch, channels) and one to three axes" in str(caught.value)


@pytest.mark.parametrize(
    ("declared", "function", "said"),
    [
        ({}, lambda student: student.mean(), "is called as loss(student, teacher), and does not take that"),
        (
            {"teacher": False},
            lambda student, other: (student - other).mean(),
            "is called as loss(student), and does not",
        ),
    ],
)
def test_a_loss_that_takes_other_arguments_is_refused(
    declared: dict[str, Any], function: Any, said: str, added: list[str]
) -> None:
    registry("loss").add(loss("shy", on="logits", **declared)(function))
    added.append("shy")
    with pytest.raises(UsageError) as caught:
        objective({"shy": LossTerm()})
    assert said in str(caught.value)


def test_parameters_are_checked_by_name_and_by_presence(added: list[str]) -> None:
    @loss("strict", on="logits")
    def strict(student: Tensor, teacher: Tensor, *, power: float) -> Tensor:
        return (student - teacher).abs().pow(power).mean()

    @loss("open", on="logits")
    def opened(student: Tensor, teacher: Tensor, **given: float) -> Tensor:
        return given["power"] * (student - teacher).mean()

    for component in (strict, opened):
        registry("loss").add(component)
        added.append(component.__kdbench_part__.name)

    def built(name: str, **given: Any) -> Objective:
        return objective({name: LossTerm.model_validate(given)})

    with pytest.raises(UsageError, match=r"student\.losses\.strict needs power, which has no default"):
        built("strict")
    with pytest.raises(UsageError, match=r"student\.losses\.strict has no parameter 'weigth'; did you mean 'weight'"):
        built("strict", power=2, weigth=1)
    with pytest.raises(UsageError, match=r"student\.losses\.open has no parameter 'student'"):
        built("open", student=1)
    assert built("open", power=2)([features(STUDENT, 0)], [features(TEACHER, 1)], batch())[0].isfinite()


def test_needs_are_known_before_anything_is_built() -> None:
    assert declared_needs(["ce", "st"]) == frozenset()
    assert declared_needs(["sgm"]) == {"ablated_logits", "label_vectors"}
    assert "semantic" in declared_needs(["se"])
