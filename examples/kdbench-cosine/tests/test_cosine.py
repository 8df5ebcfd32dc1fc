"""The loss `cosine`: values worked out by hand, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from kdbench.testing import parametrize

from kdbench_cosine.loss import cosine


@parametrize("loss", cosine)
def test_conformance(check: Callable[[], None]) -> None:
    """Gradients, batch of one, bfloat16, determinism and the like."""
    check()


@pytest.mark.parametrize(("teacher", "value"), [([3.0, 4.0], 0.0), ([-6.0, -8.0], 2.0), ([4.0, -3.0], 1.0)])
def test_value(teacher: list[float], value: float) -> None:
    """Only the direction counts."""
    assert cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([teacher])).item() == pytest.approx(value)
