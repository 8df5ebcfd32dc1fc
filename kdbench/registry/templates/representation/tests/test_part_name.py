"""The representation `part_name`: values worked out by hand, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kdbench.testing import parametrize

from kdbench_part_name.representation import PartName

STATISTICS = ((0.5,), (0.5,))


@parametrize("representation", PartName)
def test_conformance(check: Callable[[], None]) -> None:
    """Shapes, rows that do not depend on one another, and so on."""
    check()


def test_value() -> None:
    """Squares have the odd numbers as differences."""
    squares = torch.arange(5.0).square().view(1, 1, 5)
    represent = PartName(1, statistics=STATISTICS)
    assert represent(squares).flatten().tolist() == [0.0, 1.0, 3.0, 5.0, 7.0]


def test_fit() -> None:
    """After the fit the training part has the standard deviation one; a constant axis stays zero."""
    values = torch.stack([torch.randn(20, generator=torch.manual_seed(0)), torch.ones(20)]).view(1, 2, 20)
    represent = PartName(2, statistics=STATISTICS)
    represent.fit(values)
    made = represent(values)
    assert torch.isclose(made[0, 0].std(correction=0), torch.tensor(1.0))
    assert torch.equal(made[0, 1], torch.zeros(20))
