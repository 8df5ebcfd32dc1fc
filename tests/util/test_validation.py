"""What is wrong with a file is said in plain sentences, all at once, with keys, values and near misses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from recordings import write_card

from kdbench.data.card import load_card
from kdbench.errors import UsageError
from kdbench.grid.suite import load_suite
from kdbench.leaderboard.schema import Submission
from kdbench.recipes.resolve import resolve
from kdbench.util.validation import checked, known_keys

JARGON = re.compile(
    r"Input should|Extra inputs|Field required|instance of|Value error|validation error|valid dictionary|pydantic|"
    r"SuiteMethod|PartSpec|NetworkSpec|ClassName|ProtocolRule|LossTerm|Conditions|tuple|\bint\b|\bstr\b|\bdict\b"
)


def _card(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load_card(write_card(tmp_path, **changes))
    assert not JARGON.search(caught.value.message), caught.value.message
    return caught.value.message


def test_all_faults_of_a_card_are_listed_at_once(tmp_path: Path) -> None:
    said = _card(tmp_path, reader=None, colour=1, version=1.5, classes=[{"name": "a"}, "b", {"name": "c", "shrt": 3}])
    assert "has 6 faults" in said
    for line in (
        "reader is missing",
        "unknown key 'colour'",
        "version = 1.5: expected text, in quotes",
        "classes.0.short is missing",
        "classes.1 = 'b': expected a mapping with the keys name, short, group",
        "unknown key 'shrt' under classes.2; did you mean 'short'?",
    ):
        assert f"  - {line}" in said


def test_a_long_list_of_faults_is_cut(tmp_path: Path) -> None:
    said = _card(tmp_path, **{f"unknown_{number}": number for number in range(500)})
    assert said.endswith("  - and 490 more")
    assert len(said) < 4000


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.train.epochs=many", "student.train.epochs = 'many': expected a whole number"),
        ("student.train.epochs=1.5", "student.train.epochs = 1.5: expected a whole number"),
        ("student.train.lr=-1", "student.train.lr = -1: expected more than 0"),
        ("student.train=5", "student.train = 5: expected a mapping with the keys epochs, batch_size, lr, weight_decay"),
        ("student.encoder=resnet", "student.encoder = 'resnet': expected a mapping with the keys name"),
        ("student.sensors=wrist", "student.sensors = 'wrist': expected a list"),
        ("compile=maybe", "compile = 'maybe': expected true or false"),
        ("student.modality=vidio", "expected 'sensors' or 'video'; did you mean 'video'?"),
        ("student.losses.st.weight={schedule: linar}", "expected 'constant', 'linear', 'cosine' or 'warmup'; did you"),
        ("student.losses.st.weight={schedule: linear, form: 1}", "unknown key 'form' under student.losses.st.weight"),
        ("student.losses.st.weight=[1]", "student.losses.st.weight = a list of 1: expected a number"),
        ("summary=[a]", "summary = a list of 1: expected text"),
        (f"summary={{{'k' * 300}: 1}}", "…"),
    ],
)
def test_a_setting_is_answered_in_plain_words(override: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("sgm_ft", "small", [override])
    assert said in caught.value.message
    assert not JARGON.search(caught.value.message), caught.value.message
    assert len(caught.value.message) < 700


def test_of_a_number_or_a_list_both_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [rkd, 5]\ndatasets: motionsim\nseeds: few\n")
    with pytest.raises(UsageError) as caught:
        load_suite(str(path))
    assert "methods.1 = 5: expected a mapping with the keys name, teacher, label, set" in caught.value.message
    assert "datasets = 'motionsim': expected a list" in caught.value.message
    assert "seeds = 'few': expected a whole number or a list" in caught.value.message
    assert not JARGON.search(caught.value.message)


def test_the_faults_of_an_inner_model_have_their_own_keys() -> None:
    with pytest.raises(UsageError) as caught:
        checked(Submission, {"conditions": {"dataset": 3}}, "result.json", hint="Write it again.")
    assert "conditions.dataset = 3: expected text" in caught.value.message
    assert "conditions.protocol is missing" in caught.value.message
    assert not JARGON.search(caught.value.message)


def test_a_misspelt_key_is_not_called_missing_too() -> None:
    with pytest.raises(UsageError) as caught:
        resolve("sgm_ft", "small", {"data": {"frames": None, "series_lenght": 3}})
    assert "data.frames = null: expected a whole number" in caught.value.message
    assert "did you mean 'series_length'" in caught.value.message


def test_values_are_shown_short_and_without_control_characters() -> None:
    with pytest.raises(UsageError) as caught:
        resolve("sgm_ft", "small", {"precision": "\x1b[31m" + "x" * 100_000, "k" * 100_000: 1})
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 1500


def test_keys_are_known_below_lists_mappings_and_unions() -> None:
    from kdbench.data.card import Card
    from kdbench.recipes.schema import Recipe

    assert known_keys(Card, ("classes", 0)) == ["name", "short", "group"]
    assert "columns" in known_keys(Card, ("sensors", "wrist"))
    assert "from" in known_keys(Recipe, ("student", "losses", "name", "weight"))
    assert known_keys(Recipe, ("data", "options")) == []
