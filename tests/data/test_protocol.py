from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from recordings import write_card

from kdbench.data.card import Card, load_card
from kdbench.data.readers.base import grid
from kdbench.data.splits import Split, check_disjoint, protocol_names, split
from kdbench.errors import UsageError


def index_of(card: Card) -> pd.DataFrame:
    return pd.DataFrame([{"trial": trial.id, "label": trial.label, **trial.columns} for trial in grid(card)])


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("utd_mhad")


@pytest.fixture(scope="module")
def index(card: Card) -> pd.DataFrame:
    return index_of(card)


def subjects(index: pd.DataFrame, trials: tuple[str, ...]) -> set[int]:
    return set(index.set_index("trial").loc[list(trials), "subject"])


def test_the_published_sizes(card: Card, index: pd.DataFrame):
    cross = split(card, index, "cross_subject", validation=False, seed=0)
    specific = split(card, index, "subject_specific", validation=False, seed=0)
    assert (len(cross.train), len(cross.validation), len(cross.test)) == (431, 0, 430)
    assert (len(specific.train), len(specific.validation), len(specific.test)) == (432, 0, 429)


def test_cross_subject_tests_the_even_subjects_and_validates_on_the_seventh(card: Card, index: pd.DataFrame):
    parts = split(card, index, "cross_subject", validation=True, seed=3)
    assert subjects(index, parts.train) == {1, 3, 5}
    assert subjects(index, parts.validation) == {7}
    assert subjects(index, parts.test) == {2, 4, 6, 8}


def test_leave_one_subject_out_tests_everybody_once(card: Card, index: pd.DataFrame):
    names = [name for name in protocol_names(card) if name.startswith("loso_")]
    assert names == [f"loso_{n}" for n in range(1, 9)]
    tested: list[str] = []
    for number, name in enumerate(names, start=1):
        parts = split(card, index, name, validation=True, seed=0)
        assert subjects(index, parts.test) == {number}
        assert len(subjects(index, parts.validation)) == 1
        assert len(parts.train) + len(parts.validation) + len(parts.test) == 861
        tested += parts.test
    assert sorted(tested) == sorted(index["trial"])


def test_no_trial_and_no_subject_is_in_two_parts(card: Card, index: pd.DataFrame):
    for name, validation in itertools.product(protocol_names(card), (False, True)):
        parts = split(card, index, name, validation=validation, seed=1).parts().values()
        for a, b in itertools.combinations(parts, 2):
            assert not set(a) & set(b)
            if name != "subject_specific":
                assert not subjects(index, a) & subjects(index, b)


def test_a_drawn_validation_part_depends_on_the_seed_and_on_nothing_else(card: Card, index: pd.DataFrame):
    def drawn(seed: int, table: pd.DataFrame = index) -> tuple[str, ...]:
        return split(card, table, "subject_specific", validation=True, seed=seed).validation

    shuffled = index.sample(frac=1, random_state=0)
    assert drawn(0) == drawn(0)
    assert set(drawn(0)) == set(drawn(0, shuffled))
    assert set(drawn(0)) != set(drawn(1))
    labels = index.set_index("trial").loc[list(drawn(0)), "label"]
    assert (labels.value_counts() == 4).all()
    assert labels.nunique() == 27


def test_the_test_part_is_the_same_with_and_without_validation(card: Card, index: pd.DataFrame):
    for name in protocol_names(card):
        tests = {split(card, index, name, validation=v, seed=s).test for v in (False, True) for s in (0, 1)}
        assert len(tests) == 1


def test_an_unknown_protocol_gets_the_near_miss(card: Card, index: pd.DataFrame):
    with pytest.raises(UsageError, match="unknown protocol 'cross_subjects'; did you mean 'cross_subject'"):
        split(card, index, "cross_subjects", validation=False, seed=0)


def rule(tmp_path: Path, **protocol: object) -> tuple[Card, pd.DataFrame]:
    protocol.setdefault("validation", {"share": 0.5})
    card = load_card(write_card(tmp_path, protocols={"own": protocol}))
    return card, index_of(card)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"train": {"subject": [1, 3]}, "test": {"subject": [3, 4]}}, "leaks: trial a1_s3_t1 is in train and in test"),
        (
            {"train": {"repetition": [1]}, "test": {"repetition": [2]}, "disjoint": ["subject"]},
            "leaks: subject 1, 2, 3, 4 is in train and in test",
        ),
        ({"train": {"action": [1]}, "test": {"subject": [4]}}, "the train part has a single class"),
        ({"train": {"subject": [1]}, "test": {"action": [2]}}, "the test part has a single class"),
        ({"train": {"subject": [9]}, "test": {"subject": [1]}}, "the train part has no trials"),
    ],
)
def test_a_rule_that_leaks_or_leaves_nothing_to_learn_is_refused(tmp_path: Path, protocol: dict, message: str):
    card, index = rule(tmp_path, **protocol)
    with pytest.raises(UsageError, match=message):
        split(card, index, "own", validation=False, seed=0)


def test_a_validation_part_that_leaks_a_subject_is_refused(tmp_path: Path):
    card, index = rule(tmp_path, test={"subject": [4]}, validation={"where": {"repetition": [2]}}, disjoint=["subject"])
    with pytest.raises(UsageError, match="subject 1, 2, 3 is in train and in validation"):
        split(card, index, "own", validation=True, seed=0)


def test_the_check_finds_a_planted_leak(card: Card, index: pd.DataFrame):
    parts = split(card, index, "cross_subject", validation=True, seed=0)
    check_disjoint(parts, index, ["subject"], "the split")
    leaking = Split(parts.train, parts.validation, (*parts.test, parts.train[0]))
    with pytest.raises(UsageError, match=f"the split leaks: trial {parts.train[0]} is in train and in test"):
        check_disjoint(leaking, index, ["subject"], "the split")
