"""Scheduled weights: what a recipe may write, and the weight at every moment."""

from __future__ import annotations

from typing import get_args

import pytest

from kdbench.engine.weights import SHAPES, first_without_any, weight_at
from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.recipes.terms import LossTerm, Schedule


def schedule(**given: object) -> Schedule:
    return Schedule.model_validate(given)


def term(*changes: str) -> LossTerm:
    student = resolve("hinton", "small", [f"student.losses.st.weight{change}" for change in changes]).student
    assert student is not None
    return student.losses["st"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"schedule": "linear", "to": 2.0}, {0.0: 0.0, 0.25: 0.5, 0.5: 1.0, 0.999: 1.998}),
        (
            {"schedule": "linear", "from": 1, "to": 0, "start": 0.2, "end": 0.6},
            {0.1: 1, 0.2: 1, 0.4: 0.5, 0.6: 0, 1: 0},
        ),
        ({"schedule": "cosine", "to": 1.0}, {0.0: 0.0, 0.25: 0.1464466, 0.5: 0.5, 0.75: 0.8535534}),
        ({"schedule": "warmup", "to": 3.0}, {0.0: 0.0, 0.05: 1.5, 0.1: 3.0, 0.7: 3.0}),
        ({"schedule": "warmup", "to": 3.0, "end": 0.4}, {0.1: 0.75, 0.4: 3.0}),
        ({"schedule": "constant", "to": 0.1}, {0.0: 0.1, 0.9: 0.1}),
        ({"schedule": "constant", "from": 0.2, "to": 0.7, "start": 0.5}, {0.0: 0.2, 0.49: 0.2, 0.5: 0.7, 0.9: 0.7}),
    ],
)
def test_a_weight_is_a_function_of_the_progress(given: dict[str, object], expected: dict[float, float]) -> None:
    held = schedule(**given)
    assert {moment: weight_at(held, moment) for moment in expected} == pytest.approx(expected)


def test_a_number_stays_and_an_end_is_exact() -> None:
    assert weight_at(0.1, 0.7) == 0.1
    assert weight_at(schedule(schedule="linear", **{"from": 0.3}, to=0.1, end=0.5), 0.5) == 0.1


def test_every_schedule_of_a_recipe_has_a_shape_that_goes_from_0_to_1() -> None:
    assert set(SHAPES) == set(get_args(Schedule.model_fields["schedule"].annotation))
    for name, shape in SHAPES.items():
        steps = [shape(step / 100) for step in range(101)]
        assert steps == sorted(steps)
        assert steps[-1] == pytest.approx(1)
        assert steps[0] == pytest.approx(1 if name == "constant" else 0)


def test_a_plain_number_is_written_as_one() -> None:
    assert term("=0.5").model_dump()["weight"] == 0.5
    assert isinstance(term("=1").weight, float)


def test_what_is_written_down_resolves_to_the_same() -> None:
    held = term("={schedule: warmup, from: 0.1}")
    written = held.model_dump(mode="json")
    assert written["weight"] == {"schedule": "warmup", "from": 0.1, "to": 1.0, "start": 0.0, "end": 0.1}
    assert LossTerm.model_validate(written) == held


def test_a_schedule_ends_at_the_number_that_it_replaces() -> None:
    assert term("=0.3", ".schedule=linear").weight == schedule(schedule="linear", to=0.3)
    assert term("=0.3", ".schedule=linear", ".to=2").weight == schedule(schedule="linear", to=2)
    student = resolve("sgm_ft", "small", ["student.losses.st.weight.schedule=cosine"]).student
    assert student is not None
    assert student.losses["st"].weight == schedule(schedule="cosine", to=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (".schedul=linear", "did you mean 'schedule'"),
        ("={schedule: linear, fom: 1}", "did you mean 'from'"),
        ("={schedule: liner}", "'constant', 'linear', 'cosine' or 'warmup'"),
        (".end=0.5", "student.losses.st.weight.schedule is missing"),
        ("={schedule: linear, start: 0.5, end: 0.5}", "start (0.5) must come before end (0.5)"),
        ("={schedule: linear, end: 1.5}", "student.losses.st.weight.end = 1.5"),
        ("={schedule: linear, to: .inf}", "student.losses.st.weight.to"),
        ("={schedule: constant, end: 0.5}", "constant takes no end"),
        ("=heavy", "student.losses.st.weight = 'heavy'"),
        ("=null", "student.losses.st.weight = null"),
    ],
)
def test_a_wrong_schedule_is_answered(change: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        term(change)
    assert said in str(caught.value)


def test_the_first_moment_without_any_weight_is_found() -> None:
    rising, falling = schedule(schedule="linear"), schedule(schedule="linear", **{"from": 1}, to=0, end=0.5)
    assert first_without_any([0.0, 0.0]) == 0.0
    # From the first step on it is there.
    assert first_without_any([rising]) is None
    assert first_without_any([falling]) == pytest.approx(0.5)
    assert first_without_any([falling, rising]) is None
