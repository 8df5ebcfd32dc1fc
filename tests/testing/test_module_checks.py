"""Each error in an encoder, a pooling, a fusion or a representation is caught by the check that is meant for it."""

from __future__ import annotations

from typing import Any

import pytest
from broken_modules import BROKEN as MODULES
from broken_modules import HidesItsNorm, Mean
from broken_poolings import BROKEN as POOLINGS

from kdbench import fusion
from kdbench.registry import part_of
from kdbench.testing import check
from kdbench.testing.find import suite_of

KINDS = ("encoder", "pooling", "fusion", "representation")
BROKEN = [*MODULES, *POOLINGS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("component", "checks"), BROKEN, ids=[f"{part_of(broken).kind}-{part_of(broken).name}" for broken, _ in BROKEN]
)
def test_an_error_is_caught_by_its_check(component: Any, checks: set[str]) -> None:
    report = check(None, component)
    assert set(report.failed) == checks, str(report)


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_an_error_that_it_catches(kind: str) -> None:
    caught = {name for component, checks in BROKEN if part_of(component).kind == kind for name in checks}
    assert set(suite_of(kind).names) - caught <= {"loads", "was_checked", "is_the_same_on_a_gpu"}


def test_what_the_errors_were_put_into_has_none() -> None:
    report = check("fusion", fusion("mean_of_branches")(Mean))
    assert report.passed, str(report)


def test_a_message_says_what_was_declared_and_what_was_found() -> None:
    message = check("encoder", HidesItsNorm).result("normalises_as_declared").message
    assert "normalisation = 'sample'" in message
    assert "when the batch is split the map of stage 1 differs by up to" in message


def test_dropout_is_switched_off_and_parameters_win() -> None:
    assert check("encoder", "conv1d", params={"norm": "batch"}).result("train_and_eval_agree").outcome == "skipped"
    report = check("encoder", "conv1d", params={"dropout": 0.5})
    assert report.passed, str(report)
    assert report.result("train_and_eval_agree").outcome == "skipped"
    assert "random in training" in report.result("train_and_eval_agree").message
