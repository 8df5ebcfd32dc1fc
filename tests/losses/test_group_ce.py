from __future__ import annotations

import dataclasses

import pytest
import torch
from loss_cases import GROUPS, batch_of, context

from kdbench.errors import UsageError
from kdbench.losses.group_ce import GroupCrossEntropy


def test_it_is_the_cross_entropy_of_the_labels_groups() -> None:
    scores = torch.randn(5, GROUPS)
    batch = batch_of(5)
    groups = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = GroupCrossEntropy(dataclasses.replace(context(), groups=groups))
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    expected = -sum(shares[row, groups[label]].log() for row, label in enumerate(batch.label)) / 5
    torch.testing.assert_close(loss(scores, batch=batch), expected)


def test_without_groups_it_says_what_to_add() -> None:
    with pytest.raises(UsageError, match=r"the data set names none(.|\n)*group: …"):
        GroupCrossEntropy(dataclasses.replace(context(), groups=None))


def test_groups_of_other_classes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"groups of shape \(4,\) for 6 classes"):
        GroupCrossEntropy(dataclasses.replace(context(), groups=torch.zeros(4, dtype=torch.int64)))


def test_the_groups_are_not_saved_with_what_is_learnt() -> None:
    assert not GroupCrossEntropy(context()).state_dict()
