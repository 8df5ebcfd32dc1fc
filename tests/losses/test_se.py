"""Semantic embedding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from loss_cases import CLASSES, SPACE, batch_of, context

from kdbench.errors import UsageError
from kdbench.losses.se import SemanticEmbedding
from kdbench.types import Widths


def test_it_is_the_mean_squared_distance_to_the_vector_of_the_label() -> None:
    setting, batch = context(), batch_of()
    assert setting.label_vectors is not None
    loss = SemanticEmbedding(setting)
    target = setting.label_vectors[batch.label]
    assert loss(target, batch=batch) == 0
    torch.testing.assert_close(loss(target + 0.5, batch=batch), torch.tensor(0.25))


def test_the_absolute_distance_is_its_mean_over_all_entries() -> None:
    setting, batch = context(), batch_of()
    assert setting.label_vectors is not None
    target = setting.label_vectors[batch.label]
    loss = SemanticEmbedding(setting, distance="absolute")
    torch.testing.assert_close(loss(target - 0.5, batch=batch), torch.tensor(0.5))
    with pytest.raises(UsageError, match="distance of se"):
        SemanticEmbedding(setting, distance="cosine")


def test_the_label_vectors_move_with_the_module_and_are_not_saved() -> None:
    loss = SemanticEmbedding(context())
    assert [name for name, _ in loss.named_buffers()] == ["label_vectors"]
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_vectors": None}, "needs vectors of the label names"),
        ({"label_vectors": torch.zeros(CLASSES + 1, SPACE)}, f"for {CLASSES} classes"),
        ({"student": Widths(CLASSES, (4,), 4, SPACE + 3)}, f"has {SPACE + 3} entries, the label vectors have {SPACE}"),
    ],
)
def test_what_it_cannot_be_built_from_is_said(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SemanticEmbedding(replace(context(), **change))
