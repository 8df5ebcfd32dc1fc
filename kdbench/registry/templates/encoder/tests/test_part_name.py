"""The encoder `part_name`: its shapes, and the checks of kdbench."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kdbench.testing import parametrize

from kdbench_part_name.encoder import PartName


@parametrize("encoder", PartName)
def test_conformance(check: Callable[[], None]) -> None:
    """Four stages with the declared shapes, training and evaluation alike, and so on."""
    check()


def test_shapes() -> None:
    """Each stage halves the length."""
    maps, embedding = PartName(3, widths=(4, 6, 8, 10))(torch.randn(2, 3, 64))
    assert [tuple(stage.shape) for stage in maps] == [(2, 4, 32), (2, 6, 16), (2, 8, 8), (2, 10, 4)]
    assert embedding.shape == (2, 10)
