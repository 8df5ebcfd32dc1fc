from __future__ import annotations

import pytest
import torch

from kdbench.fusions.base import alike
from kdbench.fusions.concat import Concat
from kdbench.fusions.none import NoFusion

CHANNELS = (2, 3, 4, 5)


def branch(value: float) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    return tuple(torch.full((6, count, 2, 2), value) for count in CHANNELS), torch.full((6, 5), value)


def test_joins_maps_and_embeddings_in_the_order_of_the_branches():
    fusion = Concat(alike(CHANNELS, 2, 5))
    stages, embeddings = zip(branch(1.0), branch(2.0), strict=True)
    joined, embedding = fusion.after(list(stages), list(embeddings))
    assert fusion.joint
    assert not fusion.couples_batch
    assert tuple(m.shape[1] for m in joined) == fusion.out_shapes[0].channels == (4, 6, 8, 10)
    assert embedding.shape == (6, fusion.out_shapes[0].width) == (6, 10)
    assert embedding[0].tolist() == [1.0] * 5 + [2.0] * 5
    assert torch.equal(joined[0][:, :2], stages[0][0])
    assert torch.equal(joined[0][:, 2:], stages[1][0])


@pytest.mark.parametrize("kind", [Concat, NoFusion])
def test_leaves_the_maps_between_the_stages_alone(kind):
    maps = [torch.randn(2, 3, 4), torch.randn(2, 3, 4)]
    assert kind(alike(CHANNELS, 2, 5)).between(1, maps) is maps


def test_no_fusion_keeps_the_branches_apart():
    fusion = NoFusion(alike(CHANNELS, 2, 5))
    assert not fusion.joint
    assert {(shape.channels, shape.width) for shape in fusion.out_shapes} == {(CHANNELS, 5)}
