"""The pooling `part_name`: values worked out by hand, and the checks of kdbench."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from kdbench.testing import parametrize

from kdbench_part_name.pooling import PartName

TOKENS = torch.tensor([[[0.0, 2.0], [3.0, 8.0]]])


@parametrize("pooling", PartName)
def test_conformance(check: Callable[[], None]) -> None:
    """Sequences of any length, rows that do not see one another, and so on."""
    check()


def test_without_a_slope_it_is_the_mean() -> None:
    """Two tokens get a half each."""
    assert torch.allclose(PartName(2)(TOKENS), TOKENS.mean(dim=1))


def test_value() -> None:
    """With a = ln 3 the last of two tokens gets three quarters."""
    embedding = PartName(2, slope=math.log(3))(TOKENS)
    assert torch.allclose(embedding, torch.tensor([[2.25, 6.5]]))
