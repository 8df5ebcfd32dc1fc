"""Folds of cross-fitting."""

from __future__ import annotations

import pytest

from kdbench.data.folds import folds_of
from kdbench.data.store.dataset import Dataset
from kdbench.errors import UsageError


def test_a_subject_stays_in_one_fold_where_the_protocol_keeps_subjects_apart(dataset: Dataset) -> None:
    trials = list(dataset.index["trial"])
    folds = folds_of(dataset.card, dataset.index, trials, "cross_subject", 2, 0)
    assert set(folds) == set(trials)
    subjects = dataset.index.groupby("subject")
    by_subject = {subject: {folds[trial] for trial in rows["trial"]} for subject, rows in subjects}
    assert all(len(own) == 1 for own in by_subject.values())
    assert set.union(*by_subject.values()) == {0, 1}
    other = {seed: folds_of(dataset.card, dataset.index, trials, "cross_subject", 2, seed) for seed in range(8)}
    assert other[0] == folds
    assert any(one != folds for one in other.values())


def test_elsewhere_the_trials_of_each_class_take_turns(dataset: Dataset) -> None:
    trials = list(dataset.index["trial"])
    folds = folds_of(dataset.card, dataset.index, trials, "subject_specific", 4, 0)
    counts = [list(folds.values()).count(fold) for fold in range(4)]
    assert max(counts) - min(counts) <= 1
    labels = dict(zip(dataset.index["trial"], dataset.index["label"], strict=True))
    for label in set(labels.values()):
        own = [folds[trial] for trial in trials if labels[trial] == label]
        assert max(map(own.count, range(4))) - min(map(own.count, range(4))) <= 1


def test_more_folds_than_subjects_are_refused(dataset: Dataset) -> None:
    subjects = dataset.index["subject"].nunique()
    with pytest.raises(UsageError, match=f"has {subjects} subjects, and a subject stays in one fold"):
        folds_of(dataset.card, dataset.index, list(dataset.index["trial"]), "cross_subject", subjects + 1, 0)
