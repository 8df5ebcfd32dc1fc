"""Each error in a loss is caught by the check that is meant for it, and by no other."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from broken_losses import BROKEN, numpy_detour, raises, reads_a_number, similarity_by_l1, similarity_of_the_paper
from torch import Tensor

from kdbench import loss
from kdbench.registry import part_of
from kdbench.testing import check
from kdbench.testing.losses import SUITE


@loss("plain", on="embedding")
def plain(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean()


@pytest.mark.parametrize(("component", "checks"), BROKEN, ids=[part_of(broken).name for broken, _ in BROKEN])
def test_an_error_is_caught_by_its_check(component: Any, checks: set[str]) -> None:
    report = check("loss", component)
    assert set(report.failed) == checks, str(report)
    assert not report.passed


def test_every_check_has_an_error_that_it_catches() -> None:
    # Not here: the GPU, and the reference below.
    caught = {name for _, checks in BROKEN for name in checks} | {"is_the_same_on_a_gpu", "equals_the_reference"}
    assert caught | {"was_checked"} == set(SUITE.names)


def test_the_wrong_norm_is_caught_by_a_reference() -> None:
    assert check("loss", similarity_by_l1).passed
    report = check("loss", similarity_by_l1, reference=similarity_of_the_paper)
    assert report.failed == ("equals_the_reference",)
    assert check("loss", "sp", reference=similarity_of_the_paper, only=["equals_the_reference"]).passed


def test_the_reference_may_be_a_list_of_values() -> None:
    student, teacher = [[1.0, 2.0]], [[0.0, 4.0]]
    good = check("loss", plain, reference=[(student, teacher, 2.5)], only=["equals_the_reference"])
    assert good.passed, str(good)
    bad = check("loss", plain, reference=[(student, teacher, 2.5), (student, student, 1.0)])
    assert "2.5" not in bad.result("equals_the_reference").message
    assert bad.result("equals_the_reference").message == "its value is 0, and 1 by the reference (case 2)"


def test_a_plain_loss_passes_with_a_note() -> None:
    report = check("loss", plain)
    assert report.passed, str(report)
    assert "frozen" in report.result("gradient_stays_off_the_teacher").message


def test_messages_name_the_error_its_place_and_the_way_out() -> None:
    message = check("loss", raises).result("returns_a_scalar").message
    assert "ZeroDivisionError" in message
    assert "by nothing" in message
    assert "broken_losses.py:" in message
    message = check("loss", reads_a_number).result("never_waits_for_the_device").message
    assert message.startswith("it reads a value on the host: .item() (broken_losses.py:")
    message = check("loss", numpy_detour).result("gradient_reaches_the_student").message
    assert "embedding" in message
    assert "numpy" in message


def test_checks_leave_no_trace_in_the_process() -> None:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    check("loss", "crd")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_parameters_reach_the_loss() -> None:
    report = check("loss", "st", params={"temperature": -1.0})
    assert report.failed == ("returns_a_scalar",)
    assert "temperature is -1.0" in report.result("returns_a_scalar").message
    report = check("loss", "st", params={"temperatur": 2.0})
    assert report.failed == ("loads",)
    assert "did you mean 'temperature'" in report.result("loads").message
