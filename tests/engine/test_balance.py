"""Automatic balance and scheduled weights: what they do to the terms, and that they go on where they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import StopAfter, known, tiny
from safetensors.torch import load_file
from torch import Tensor

from kdbench import loss
from kdbench.engine.balance import BALANCES, Balance, GradNorm, Uncertainty, build_balance
from kdbench.errors import Interrupted, UsageError
from kdbench.recipes.terms import PartSpec, Schedule
from kdbench.runs.run import RunResult
from kdbench.util.records import read_json, read_jsonl

LATE = "student.losses.st.weight={schedule: linear, to: 2, start: 0.5, end: 0.9}"
ALWAYS = ["student.train={epochs: 4, batch_size: 8}"]


def scalars(*values: float) -> list[Tensor]:
    return [torch.tensor(value, requires_grad=True) for value in values]


def test_without_a_balance_the_loss_is_the_weighted_sum_to_the_bit() -> None:
    values = scalars(1.7, 0.3)
    assert torch.equal(Balance()([0.1, 3.0], values), 0.1 * values[0] + 3.0 * values[1])
    assert Balance().factors() is None
    assert Balance().state_dict() == {}


def test_uncertainty_has_kendalls_value_and_gradient() -> None:
    balance = Uncertainty(2)
    with torch.no_grad():
        balance.log_variances.copy_(torch.tensor([0.4, -1.0]))
    values = scalars(2.0, 3.0)
    total = balance([1.0, 0.5], values)
    first, second = np.exp(-0.4) * 2.0 + 0.2, 0.5 * (np.exp(1.0) * 3.0 - 0.5)
    assert total.item() == pytest.approx(first + second, rel=1e-6)
    total.backward()
    assert balance.log_variances.grad is not None
    expected = [0.5 - np.exp(-0.4) * 2.0, 0.5 * (0.5 - np.exp(1.0) * 3.0)]
    assert balance.log_variances.grad.tolist() == pytest.approx(expected, rel=1e-6)
    assert balance.factors().tolist() == pytest.approx([np.exp(-0.4), np.exp(1.0)], rel=1e-6)


def test_uncertainty_comes_to_rest_where_the_term_says() -> None:
    balance = Uncertainty(2)
    optimizer = torch.optim.Adam(balance.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        balance([1.0, 0.3], scalars(4.0, 0.1)).backward()
        optimizer.step()
    assert balance.factors().tolist() == pytest.approx([1 / 8, 5.0], rel=1e-2)


def test_uncertainty_comes_back_from_its_bound() -> None:
    balance = Uncertainty(2)
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.5)
    with torch.no_grad():
        balance.log_variances.copy_(torch.tensor([-10.4, 10.4]))
    first = balance([1.0, 1.0], scalars(1e-6, 1e6))
    assert first.item() == pytest.approx(np.exp(10) * 1e-6 - 5 + np.exp(-10) * 1e6 + 5, rel=1e-5)
    for _ in range(3):
        optimizer.zero_grad()
        balance([1.0, 1.0], scalars(1.0, 1e-6)).backward()
        optimizer.step()
    assert balance.log_variances[0] > 0
    assert balance.log_variances[1] < 10


def test_gradnorm_makes_terms_of_unlike_scale_pull_as_their_weights_say() -> None:
    shared = torch.randn(8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    balance, weights = GradNorm(2), [1.0, 0.5]

    def gradients() -> list[Tensor]:
        values = [(1e3 * shared).square().mean(), (shared - 1).square().mean()]
        return [torch.autograd.grad(value, shared, retain_graph=True)[0] for value in values]

    for _ in range(3):
        balance.observe(torch.stack([g.norm() for g in gradients()]), weights)
    pulls = [w * f * g.norm() for w, f, g in zip(weights, balance.factors(), gradients(), strict=True)]
    assert (pulls[0] / pulls[1]).item() == pytest.approx(2.0, rel=1e-4)
    unbalanced = [w * g.norm() for w, g in zip(weights, gradients(), strict=True)]
    assert sum(pulls).item() == pytest.approx(sum(unbalanced).item(), rel=1e-4)


def test_gradnorm_passes_over_what_has_no_gradient_or_none_that_is_finite() -> None:
    balance = GradNorm(3)
    assert balance.factors().tolist() == [1, 1, 1]
    balance.observe(torch.tensor([1.0, 0.0, float("nan")]), [1.0, 1.0, 0.0])
    assert balance.factors()[1:].tolist() == [1, 1]
    before = balance.factors()
    balance.observe(torch.tensor([float("inf"), float("nan"), float("nan")]), [1.0, 1.0, 0.0])
    assert torch.equal(balance.factors(), before)


def test_gradnorms_average_is_unbiased_from_the_first_measurement_on() -> None:
    balance = GradNorm(2, momentum=0.5)
    balance.observe(torch.tensor([8.0, 2.0]), [1.0, 1.0])
    assert balance.factors().tolist() == pytest.approx([5 / 8, 5 / 2])
    balance.observe(torch.tensor([2.0, 2.0]), [1.0, 1.0])
    # (0.25 · 8 + 0.5 · 2) / 0.75 = 4
    assert balance.factors().tolist() == pytest.approx([3 / 4, 3 / 2])


@pytest.mark.parametrize("name", sorted(BALANCES))
def test_a_watched_term_changes_nothing_even_where_it_is_undefined(name: str) -> None:
    balance = build_balance(PartSpec(name=name), [1.0, 1.0, 0.0], where="student.balance")
    values = scalars(1.0, 2.0, 3.0)
    total = balance([1.0, 1.0, 0.0], [values[0], values[1], values[2] * float("nan")])
    total.backward()
    assert total.isfinite()
    assert values[2].grad is None
    assert all(p.grad is None or p.grad.isfinite().all() for p in balance.parameters())


@pytest.mark.parametrize(
    ("spec", "weights", "said"),
    [
        (PartSpec(name="gradnrm"), [1.0, 1.0], "did you mean 'gradnorm'"),
        (PartSpec.model_validate({"name": "gradnorm", "momentun": 0.5}), [1.0, 1.0], "did you mean 'momentum'"),
        (PartSpec.model_validate({"name": "gradnorm", "every": 0}), [1.0, 1.0], "--set student.balance.every=10"),
        (PartSpec.model_validate({"name": "gradnorm", "momentum": 1}), [1.0, 1.0], "momentum is 1"),
        (PartSpec.model_validate({"name": "uncertainty", "lr": 0}), [1.0, 1.0], "lr is 0, expected a positive"),
        (PartSpec.model_validate({"name": "uncertainty", "lr": "x"}), [1.0, 1.0], "student.balance.lr = 'x', expected"),
        (PartSpec(name="uncertainty"), [1.0], "nothing to balance"),
        (PartSpec(name="uncertainty"), [1.0, 0.0], "--set student.balance=null"),
        (PartSpec(name="gradnorm"), [1.0, -2.0], "-2.0 is a weight"),
        (
            PartSpec(name="gradnorm"),
            [1.0, Schedule.model_validate({"schedule": "linear", "from": -1})],
            "-1.0 is a weight",
        ),
    ],
)
def test_a_balance_that_cannot_be_is_refused(spec: PartSpec, weights: list[Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_balance(spec, weights, where="student.balance")
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that holds the teacher of all of them."""
    folder = tmp_path_factory.mktemp("balance")
    tiny("hinton_raw", folder)
    return folder


def records(result: RunResult) -> list[dict[str, Any]]:
    kept = ("epoch", "loss", "terms", "weights", "grad_norms", "accuracy")
    held = [r for r in read_jsonl(result.folder / "metrics.jsonl") if r["phase"] == "student"]
    return [{key: record[key] for key in kept} for record in held]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [LATE, "student.balance={name: uncertainty, lr: 0.1}", "student.balance={name: gradnorm, every: 2}"],
    ids=["schedule", "uncertainty", "gradnorm"],
)
def test_an_interrupted_run_ends_with_the_same_numbers(change: str, runs: Path, tmp_path: Path) -> None:
    whole = tiny("hinton_raw", runs, *ALWAYS, change)
    shutil.copytree(runs / "teachers", tmp_path / "teachers")
    with pytest.raises(Interrupted):
        tiny("hinton_raw", tmp_path, *ALWAYS, change, reporter=StopAfter("student", 2))
    resumed = tiny("hinton_raw", tmp_path, *ALWAYS, change)
    assert resumed.result["resumed"] == 1
    assert resumed.predictions().equals(whole.predictions())
    assert records(resumed) == records(whole)
    if (learnt := whole.folder / "losses.safetensors").is_file():
        ours, theirs = load_file(resumed.folder / learnt.name), load_file(learnt)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert learnt.is_file() == ("balance" in change)


@pytest.mark.slow
def test_a_schedule_that_starts_at_zero_gives_no_gradient_before_its_start(runs: Path) -> None:
    late = records(tiny("hinton_raw", runs, *ALWAYS, LATE))
    without = records(tiny("hinton_raw", runs, *ALWAYS, "student.losses.st.weight=0"))
    assert [record["weights"]["st"] for record in late[:2]] == [0, 0]
    assert late[0]["terms"] == without[0]["terms"]
    assert late[1]["terms"] == without[1]["terms"]
    assert late[3]["terms"] != without[3]["terms"]
    # Three steps per epoch, twelve in all: 6, 7 and 8 of 12 are (0, 1/12, 2/12) / 0.4 of the way to 2.
    assert late[2]["weights"]["st"] == pytest.approx(2 * (0 + 1 / 12 + 2 / 12) / 0.4 / 3)
    for record in late:
        assert record["weights"]["ce"] == 1
    assert late[0]["loss"] == pytest.approx(late[0]["terms"]["ce"])


@pytest.mark.slow
def test_a_balance_moves_the_weights_and_they_are_logged(runs: Path) -> None:
    learnt = records(tiny("hinton_raw", runs, *ALWAYS, "student.balance={name: uncertainty, lr: 0.1}"))
    assert learnt[0]["weights"]["ce"] != learnt[-1]["weights"]["ce"]
    # ce is above 1/2 and loses weight; st is below and gains it.
    assert learnt[-1]["weights"]["ce"] < 1 < learnt[-1]["weights"]["st"]
    even = records(tiny("hinton_raw", runs, *ALWAYS, "student.balance={name: gradnorm, every: 1, momentum: 0}"))
    norms = [record["grad_norms"] for record in even[1:]]
    plain = [record["grad_norms"] for record in records(tiny("hinton_raw", runs, *ALWAYS))[1:]]
    assert all(max(n.values()) / min(n.values()) < 1.4 for n in norms)
    assert all(max(n.values()) / min(n.values()) > 1.6 for n in plain)


def test_a_recipe_without_schedule_or_balance_says_nothing_of_them(runs: Path) -> None:
    result = tiny("hinton_raw", runs)
    student = read_json(result.folder / "run.json")["recipe"]["student"]
    assert "balance" not in student
    assert {name: held["weight"] for name, held in student["losses"].items()} == {"ce": 1.0, "st": 1.0}
    assert records(result)[0]["weights"] == {"ce": 1.0, "st": 1.0}


@pytest.mark.slow
def test_a_term_that_is_undefined_before_its_start_does_no_harm(runs: Path) -> None:
    calls = []

    @loss("late", on="logits", teacher=False)
    def late(student: Tensor) -> Tensor:
        """NaN in the first half of the training, with a gradient of NaN."""
        calls.append(len(student))
        # One call tries the loss, two time the step; then twelve steps.
        return student.mean() * (float("nan") if len(calls) <= 3 + 6 else 1.0)

    with known(late):
        result = tiny("hinton_raw", runs, *ALWAYS, "student.losses.late.weight={schedule: constant, start: 0.5, to: 1}")
    assert [record["terms"]["late"] is None for record in records(result)] == [True, True, False, False]
    assert all(record["loss"] is not None for record in records(result))
