"""Branches in a space that they share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from loss_cases import CLASSES, batch_of, context, features
from torch import Tensor, nn

from kdbench.engine.term import Term
from kdbench.errors import UsageError
from kdbench.losses.shared_space import SharedSpace
from kdbench.recipes.terms import LossTerm
from kdbench.types import Context

HALF = 5


def _by_hand(embedding: Tensor, setting: Context, align: float, sparse: float) -> float:
    head = setting.student_classifiers[0]
    one, other = embedding[:, :HALF], embedding[:, HALF:]
    total = 0.0
    for part, columns in ((one, head.weight[:, :HALF]), (other, head.weight[:, HALF:])):
        for b in range(len(part)):
            scores = [2 * (part[b] @ columns[k]).item() + head.bias[k].item() for k in range(CLASSES)]
            total -= torch.tensor(scores).log_softmax(0)[b % CLASSES].item() / len(part)
    total += align * (one - other).square().sum().item() / len(one)
    for layer in setting.student_projections:
        total += sparse * sum(layer.weight[:, entry].norm().item() for entry in range(layer.weight.shape[1]))
    return total


@pytest.mark.parametrize(("align", "sparse"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.1)])
def test_value_is_that_of_the_formula(align: float, sparse: float) -> None:
    setting, student = context(), features().embedding
    value = SharedSpace(setting, align=align, sparse=sparse)(student, batch=batch_of())
    assert value.item() == pytest.approx(_by_hand(student, setting, align, sparse), rel=1e-5)


def test_the_mean_of_the_scores_of_the_branches_is_that_of_the_head() -> None:
    head: nn.Linear = context().student_classifiers[0]
    embedding = features().embedding
    parts = embedding.chunk(2, 1)
    each = [2 * part @ own.T + head.bias for part, own in zip(parts, head.weight.chunk(2, 1), strict=True)]
    torch.testing.assert_close(torch.stack(each).mean(0), head(embedding))


def test_the_engine_gives_it_the_networks_layers_and_it_trains_them_without_owning_them() -> None:
    setting = context()
    term = Term("shared_space", LossTerm(), setting, where="teacher.losses.shared_space")
    assert not list(term.parameters())
    term([features()], [], batch_of()).backward()
    for layer in (*setting.student_projections, *setting.student_classifiers):
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().sum() > 0


def test_it_says_how_far_apart_the_branches_of_a_trial_lie() -> None:
    loss, student = SharedSpace(context()), features().embedding
    assert loss.diagnostics() == {}
    loss(student, batch=batch_of())
    one, other = student.detach().chunk(2, 1)
    torch.testing.assert_close(loss.diagnostics()["apart"], (one - other).square().sum(1).mean())


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="align is -1"):
        SharedSpace(context(), align=-1)
    with pytest.raises(UsageError, match="compares branches in a space that they share"):
        SharedSpace(replace(context(), student_projections=()))
    with pytest.raises(UsageError, match="needs branches that share a space") as caught:
        Term("shared_space", LossTerm(), replace(context(), student_projections=()), where="teacher.losses.x")
    assert "fusion: {name: shared}" in str(caught.value)
