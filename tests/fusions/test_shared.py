"""A space that branches share."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.fusions.base import Shape
from kdbench.fusions.shared import Shared

SHAPES = (Shape("body", (2, 2, 2, 2), 4), Shape("depth", (3, 3, 3, 3), 6, "clip"))


def test_each_branch_is_projected_by_a_layer_of_its_own_and_they_lie_side_by_side() -> None:
    made = Shared(SHAPES, width=3)
    given = [torch.randn(5, 4), torch.randn(5, 6)]
    maps, embedding = made.after([(), ()], given)
    assert maps == ()
    assert made.out_shapes[0].width == 6
    for part, layer, x in zip(embedding.chunk(2, 1), made.shared_projections, given, strict=True):
        torch.testing.assert_close(part, x @ layer.weight.T)
        assert layer.bias is None


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="shared: width = 0"):
        Shared(SHAPES, width=0)
