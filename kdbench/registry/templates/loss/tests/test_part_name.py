"""The loss `part_name`: values worked out by hand, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from kdbench.testing import parametrize

from kdbench_part_name.loss import part_name


@parametrize("loss", part_name)
def test_conformance(check: Callable[[], None]) -> None:
    """Gradients, batch of one, bfloat16, determinism and the like."""
    check()


@pytest.mark.parametrize(("sign", "value"), [(1.0, 0.0), (-1.0, 2.0)])
def test_value(sign: float, value: float) -> None:
    """Equal features cost nothing, opposite ones two; their length does not matter."""
    student = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert part_name(student, 5 * sign * student).item() == pytest.approx(value)


def test_margin() -> None:
    """The margin is taken off the distance, down to zero."""
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert part_name(student, teacher, margin=0.25).item() == pytest.approx(0.75)
    assert part_name(student, student, margin=0.25).item() == 0.0
