"""Tracks: which trials are labelled, which are paired, and how batches hold them."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest
import torch

from kdbench.data.card import Card, load_card
from kdbench.data.readers.base import grid
from kdbench.data.splits import split
from kdbench.data.tracks import mixed_order, supervise
from kdbench.errors import UsageError
from kdbench.recipes.track import Track


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("utd_mhad")


@pytest.fixture(scope="module")
def index(card: Card) -> pd.DataFrame:
    return pd.DataFrame([{"trial": trial.id, "label": trial.label, **trial.columns} for trial in grid(card)])


@pytest.fixture(scope="module")
def train(card: Card, index: pd.DataFrame) -> tuple[str, ...]:
    return split(card, index, "cross_subject", validation=False, seed=0).train


def labelled(card: Card, index: pd.DataFrame, train: tuple[str, ...], k: int, seed: int = 0) -> tuple[str, ...]:
    return supervise(card, index, train, "cross_subject", Track(labels=k), seed).labelled


@pytest.mark.parametrize("k", [1, 2, 4])
def test_every_class_has_k_labelled_trials_of_one_subject(card, index, train, k):
    table = index.set_index("trial").loc[list(labelled(card, index, train, k))]
    assert Counter(table["label"]) == dict.fromkeys(range(27), k)
    # Where the first subject lacks a trial of a class, the next one gives it.
    common = table["subject"].value_counts()
    assert common.iloc[0] >= 27 * k - 1


def test_more_labels_than_a_subject_has_come_from_the_next_subject(card, index, train):
    table = index.set_index("trial").loc[list(labelled(card, index, train, 5))]
    assert sorted(table["subject"].value_counts())[-1] >= 4 * 27 - 1
    assert table["subject"].nunique() <= 3


def test_labels_are_nested_and_depend_on_the_seed_alone(card, index, train):
    one, four = labelled(card, index, train, 1), labelled(card, index, train, 4)
    assert set(one) < set(four)
    assert one == labelled(card, index, train, 1)
    assert one == labelled(card, index.sample(frac=1, random_state=1), train, 1)
    assert len({labelled(card, index, train, 1, seed) for seed in range(5)}) > 1


def test_a_class_with_fewer_trials_than_labels_is_named(card, index, train):
    with pytest.raises(UsageError, match=r"track.labels = 16: the class '.+' has 15 training trials") as error:
        labelled(card, index, train, 16)
    assert "--labels 15" in str(error.value)


def test_labels_of_every_trial_are_the_other_track(card, index):
    train = tuple(index.loc[(index["subject"] == 2) & (index["repetition"] < 3), "trial"])
    with pytest.raises(UsageError, match=r"labels each of the 54 training trials of 1 subject under"):
        labelled(card, index, train, 2)


def test_all_labels(card, index, train):
    assert supervise(card, index, train, "cross_subject", Track(), 0).labelled == train


def test_a_share_of_the_pairs_of_every_class(card, index, train):
    paired = supervise(card, index, train, "cross_subject", Track(pairs=0.25), 0).paired
    assert set(Counter(index.set_index("trial").loc[list(paired), "label"]).values()) == {4}
    more = supervise(card, index, train, "cross_subject", Track(pairs=0.5), 0).paired
    assert set(paired) < set(more)


def test_a_share_that_leaves_no_pair_is_refused(card, index, train):
    with pytest.raises(UsageError, match="leaves no pair"):
        supervise(card, index, train, "cross_subject", Track(pairs=0.01), 0)


@pytest.mark.parametrize(
    ("scarce", "total", "size", "quota"), [(27, 431, 16, 4), (3, 40, 8, 2), (5, 6, 4, 3), (1, 9, 4, 1)]
)
def test_every_batch_begins_with_its_quota_and_the_rest_comes_once(scarce, total, size, quota):
    few, rest = torch.arange(scarce), torch.arange(scarce, total)
    order = mixed_order(few, rest, size, quota, torch.Generator().manual_seed(0))
    batches = order.split(size)
    for batch in batches:
        assert (batch[:quota] < scarce).all()
        assert (batch[quota:] >= scarce).all()
    assert sorted(order[order >= scarce].tolist()) == rest.tolist()
    times = torch.bincount(order[order < scarce], minlength=scarce)
    assert times.max() - times.min() <= 1


def test_trials_without_what_the_teacher_sees_are_no_pairs(
    card: Card, index: pd.DataFrame, train: tuple[str, ...]
) -> None:
    given = supervise(card, index, train, "cross_subject", Track(), 0, train[:3])
    assert (given.labelled, given.paired) == (train, train[3:])
    assert given.scarce == frozenset(train[3:])
    with pytest.raises(UsageError, match=r"no training trial .* has what both teacher and student see"):
        supervise(card, index, train, "cross_subject", Track(), 0, train)
    with pytest.raises(UsageError, match=r"3 training trials of .* were recorded without what the teacher sees"):
        supervise(card, index, train, "cross_subject", Track(labels=1), 0, train[:3])
