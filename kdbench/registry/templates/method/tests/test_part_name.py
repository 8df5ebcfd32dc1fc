"""The method `part_name`: what it resolves to, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kdbench.recipes.resolve import resolve
from kdbench.testing import parametrize

import kdbench_part_name

RECIPE = str(Path(kdbench_part_name.__file__).with_name("part_name.yaml"))


@parametrize("method", RECIPE)
def test_conformance(check: Callable[[], None]) -> None:
    """What each loss needs is met by what the networks give."""
    check()


@pytest.mark.parametrize("preset", ["paper", "small", "smoke"])
def test_losses(preset: str) -> None:
    """It adds one loss to those of the recipe that it extends, at every size."""
    student, extended = resolve(RECIPE, preset).student, resolve("kd", preset).student
    assert student is not None
    assert extended is not None
    assert set(student.losses) == {*extended.losses, "sp"}
    assert student.losses["st"].params["temperature"] == 4.0
