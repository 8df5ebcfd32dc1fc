"""How the class scores of several teachers become those of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.engine.mixing import Attention, build_mix
from kdbench.engine.objective import Objective
from kdbench.errors import UsageError
from kdbench.recipes.terms import LossTerm, PartSpec
from kdbench.types import Batch, Context, Features, Widths

ROWS, CLASSES, WIDTH = 4, 3, 6
NAMES = ("imu", "imu", "body")


def features(seed: int) -> Features:
    drawn = torch.Generator().manual_seed(seed)
    return Features(torch.randn(ROWS, CLASSES, generator=drawn), (), torch.randn(ROWS, WIDTH, generator=drawn))


def batch() -> Batch:
    labels = torch.tensor([0, 1, 2, 1])
    return Batch({}, None, labels, tuple(f"t{row}" for row in range(ROWS)), torch.arange(ROWS))


TEACHERS = [features(seed) for seed in (1, 2, 3)]
SCORES = torch.stack([teacher.logits for teacher in TEACHERS], dim=1)
ERRORS = torch.stack([F.cross_entropy(one.logits, batch().label, reduction="none") for one in TEACHERS], dim=1)


def mixed(spec: str | dict[str, Any]) -> Tensor:
    given = PartSpec.model_validate({"name": spec} if isinstance(spec, str) else spec)
    mix = build_mix(given, NAMES, [Widths(CLASSES, (), WIDTH)] * 3, "student.losses.st")
    mix.tell(ERRORS.mean(0))
    return mix(TEACHERS, batch())


@pytest.mark.parametrize(
    ("spec", "weights"),
    [
        ("mean", torch.full((ROWS, 3), 1 / 3)),
        ({"name": "weights", "imu": 1, "body": 3}, torch.tensor([0.125, 0.125, 0.75]).expand(ROWS, 3)),
        ({"name": "softmin", "tau": 0.5}, (-ERRORS / 0.5).softmax(1)),
        ({"name": "softmin", "over": "set"}, (-ERRORS.mean(0)).softmax(0).expand(ROWS, 3)),
        ("confidence", F.one_hot(ERRORS.argmin(1), 3).float()),
    ],
)
def test_the_scores_are_the_weighted_sum(spec: str | dict[str, Any], weights: Tensor) -> None:
    torch.testing.assert_close(mixed(spec), (weights[..., None] * SCORES).sum(1))


def test_attention_learns_weights_that_sum_to_one() -> None:
    mix = build_mix(PartSpec(name="attention", hidden=4), NAMES, [Widths(CLASSES, (), WIDTH)] * 3, "here")
    weights = mix.weights(TEACHERS, batch())
    torch.testing.assert_close(weights.sum(1), torch.ones(ROWS))


def test_attention_learns_in_a_loss_by_the_cross_entropy_of_what_it_mixes() -> None:
    torch.manual_seed(0)
    made = objective(mix={"name": "attention", "hidden": 4})
    mix = next(module for module in made.modules() if isinstance(module, Attention))
    parameters = list(mix.parameters())
    for labelled, count in ((None, ROWS), (2, 2), (0, 0)):
        some = batch().replace(labelled=labelled)
        scores = mix(TEACHERS, some)
        error = F.cross_entropy(scores[:count], some.label[:count]) if count else scores.sum() * 0
        total, values = made([features(9)], TEACHERS, some)
        for found, wanted in zip(
            torch.autograd.grad(total, parameters), torch.autograd.grad(error, parameters), strict=True
        ):
            torch.testing.assert_close(found, wanted)
        # What the term says is the value of the loss alone.
        widths = Widths(CLASSES, (), WIDTH)
        alone = Objective({"st": LossTerm()}, Context(CLASSES, widths, (widths,)), owner="student")
        one = TEACHERS[0].replace(logits=scores.detach())
        torch.testing.assert_close(values.detach(), alone([features(9)], [one], some)[1])


@pytest.mark.parametrize(
    ("spec", "names", "words"),
    [
        ("softmin", ("imu",), "has nothing to mix"),
        ("softmn", NAMES, "did you mean 'softmin'"),
        ({"name": "softmin", "tua": 1}, NAMES, "did you mean 'tau'"),
        ({"name": "softmin", "tau": 0}, NAMES, r"student.losses.st.mix: tau = 0, expected a positive number"),
        ({"name": "softmin", "tau": "one"}, NAMES, "tau = 'one', expected a positive number"),
        ({"name": "attention", "hidden": 1.5}, NAMES, "hidden = 1.5, expected a positive width"),
        ({"name": "softmin", "over": "trials"}, NAMES, "did you mean 'trial'"),
        ({"name": "weights", "imu": 1}, NAMES, "no weight for the teacher body"),
        ({"name": "weights", "imu": 1, "boby": 1}, NAMES, "did you mean 'body'"),
        ({"name": "weights", "imu": 0, "body": 0}, NAMES, "or all 0"),
    ],
)
def test_what_cannot_be_mixed_is_refused(spec: Any, names: tuple[str, ...], words: str) -> None:
    given = PartSpec.model_validate({"name": spec} if isinstance(spec, str) else spec)
    with pytest.raises(UsageError, match=words) as caught:
        build_mix(given, names, [Widths(CLASSES, (), WIDTH)] * len(names), "student.losses.st")
    assert caught.value.message.startswith("student.losses.st")
    assert caught.value.hint


def objective(**term: Any) -> Objective:
    widths = Widths(CLASSES, (1, 1, 1, 1), WIDTH)
    context = Context(CLASSES, widths, (widths,) * 3, NAMES)
    return Objective({"st": LossTerm.model_validate(term)}, context, owner="student")


def value(made: Objective) -> Tensor:
    return made([features(9)], TEACHERS, batch())[1]


def test_a_loss_reads_the_teachers_that_it_names() -> None:
    each = torch.stack([objective(**{"from": [name]})([features(9)], TEACHERS, batch())[1] for name in ("imu", "body")])
    torch.testing.assert_close(value(objective()), (2 * each[0] + each[1]) / 3)
    mean = TEACHERS[0].replace(logits=SCORES[:, :2].mean(1))
    widths = Widths(CLASSES, (), WIDTH)
    alone = Objective({"st": LossTerm()}, Context(CLASSES, widths, (widths,)), owner="student")
    torch.testing.assert_close(
        value(objective(**{"from": "imu", "mix": "mean"})), alone([features(9)], [mean], batch())[1]
    )


def test_a_mix_that_reads_labels_leaves_unlabelled_trials_out() -> None:
    made = objective(mix="confidence")
    short = batch().replace(label=torch.tensor([0, 1, -1, -1]), labelled=2)
    head = batch().head(2)
    whole = made([features(9)], TEACHERS, short)[1]
    torch.testing.assert_close(whole, made([features(9).head(2)], [t.head(2) for t in TEACHERS], head)[1])


@pytest.mark.parametrize(
    ("loss", "term", "words"),
    [
        ("ce", {"from": ["imu"]}, "from has no effect"),
        ("hint", {"mix": "mean"}, "compares more than class scores"),
        ("pskd", {"mix": "mean"}, "takes all teachers at once"),
    ],
)
def test_losses_that_cannot_take_it_say_so(loss: str, term: dict[str, Any], words: str) -> None:
    widths = Widths(CLASSES, (1, 1, 1, 1), WIDTH, 2)
    context = Context(CLASSES, widths, (widths,) * 3, NAMES, torch.ones(CLASSES, 2))
    with pytest.raises(UsageError, match=words):
        Objective({loss: LossTerm.model_validate(term)}, context, owner="student")
