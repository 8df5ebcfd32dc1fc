"""The fusion `part_name`: values worked out by hand, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kdbench.fusions.base import alike
from kdbench.testing import parametrize

from kdbench_part_name.fusion import PartName


@parametrize("fusion", PartName)
def test_conformance(check: Callable[[], None]) -> None:
    """One, two and four branches, and whether the rows of a batch are coupled."""
    check()


def test_value() -> None:
    """Two branches of ones and threes have the mean two; half of it is added."""
    fuse = PartName(alike((4, 8, 8, 8), 2, 8), share=0.5)
    low, high = fuse.between(0, [torch.ones(2, 4, 5), 3 * torch.ones(2, 4, 5)])
    assert torch.equal(low, 2 * torch.ones(2, 4, 5))
    assert torch.equal(high, 4 * torch.ones(2, 4, 5))
