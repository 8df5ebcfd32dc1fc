"""The shipped label vectors."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from kdbench.data.card import load_card
from kdbench.errors import UsageError
from kdbench.recipes.terms import PartSpec
from kdbench.semantic_spaces.base import load
from kdbench.semantic_spaces.table import read_table, write_table
from kdbench.util.paths import folder

CARDS = sorted(folder("datasets").glob("*/card.yaml"))
TABLE = PartSpec(name="table")


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_every_shipped_data_set_has_distinct_vectors_for_its_classes(path: Path) -> None:
    card = load_card(path)
    held = load(TABLE, card)
    assert held.vectors.shape == (len(card.class_names), 384)
    assert held.vectors.dtype == torch.float32
    assert held.name == "minilm_l6_v2"
    assert held.meaningful
    assert len(torch.unique(held.vectors, dim=0)) == len(card.class_names)
    assert list(read_table(path.parent / "label_vectors_minilm_l6_v2.csv")) == list(card.class_names)


def test_the_scale_is_that_of_the_specification() -> None:
    held = load(TABLE, load_card(folder("datasets") / "utd_mhad" / "card.yaml"))
    assert held.vectors.square().mean().item() == pytest.approx(0.25, abs=1e-6)
    assert held.scale == "mean square 0.25 an entry"


def test_word_order_and_meaning_are_in_the_vectors() -> None:
    card = load_card(folder("datasets") / "utd_mhad" / "card.yaml")
    vectors = dict(zip(card.class_names, F.normalize(load(TABLE, card).vectors), strict=True))

    def cosine(one: str, other: str) -> float:
        return float(vectors[one] @ vectors[other])

    assert cosine("sit to stand", "stand to sit") < 0.99
    assert cosine("jogging in place", "walking in place") > cosine("jogging in place", "tennis serve") + 0.2


def test_ones_own_table_by_path_in_another_order(tmp_path: Path) -> None:
    card = load_card(folder("datasets") / "utd_mhad" / "card.yaml")
    names = sorted(card.class_names)
    vectors = torch.randn(len(names), 5)
    path = tmp_path / "mine.csv"
    write_table(path, names, vectors, comment="random")
    held = load(PartSpec.model_validate({"name": "table", "table": str(path)}), card)
    wanted = torch.stack([vectors[names.index(name)] for name in card.class_names])
    assert held.name == "mine"
    torch.testing.assert_close(F.normalize(held.vectors), F.normalize(wanted), atol=1e-5, rtol=1e-4)


def test_a_card_without_a_table_says_how_to_make_one() -> None:
    card = load_card(folder("datasets") / "utd_mhad" / "card.yaml").model_copy(update={"label_vectors": None})
    with pytest.raises(UsageError, match="the card of utd_mhad names no table") as caught:
        load(TABLE, card)
    assert "make_label_vectors.py" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"table": "glove"}, "tables there: minilm_l6_v2"),
        ({"tabel": "minilm_l6_v2"}, "unknown recipe key 'semantics.tabel'; did you mean 'semantics.table'?"),
        ({"table": 3}, "semantics.table = 3, expected text or null"),
    ],
)
def test_a_wrong_parameter_is_explained(params: dict[str, object], text: str) -> None:
    card = load_card(folder("datasets") / "utd_mhad" / "card.yaml")
    with pytest.raises(UsageError) as caught:
        load(PartSpec.model_validate({"name": "table", **params}), card)
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("class,v0,v1\nbow,1,2\n", "lack the class 'right arm swipe to the left'"),
        ("class,v0,v1\nbow,1\n", "the row of 'bow' must hold 2 finite numbers"),
        ("class,v0,v1\nbow,1,nan\n", "the row of 'bow' must hold 2 finite numbers"),
        ("class,v0,v1\nbow,1,x\n", "could not convert string to float"),
        ("", "is empty"),
    ],
)
def test_a_broken_table_names_file_and_row(tmp_path: Path, rows: str, text: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(rows)
    card = load_card(folder("datasets") / "utd_mhad" / "card.yaml")
    with pytest.raises(UsageError) as caught:
        load(PartSpec.model_validate({"name": "table", "table": str(path)}), card)
    assert text in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"class,v0\nwave,\xff\n", "byte 15 is not UTF-8"),
        (b'class,v0\n"' + b"x" * 200_000 + b'",1\n', "is no CSV file"),
        (b"class,v0\nwave,1\nwave,2\n", "the class 'wave' stands twice"),
        (b"class,v0\nwave," + b"9" * 5000 + b"x\n", "the row of 'wave'"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    # Another library may have raised the limit in this process.
    held = csv.field_size_limit(131_072)
    try:
        with pytest.raises(UsageError, match=said) as caught:
            read_table(path)
    finally:
        csv.field_size_limit(held)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 500
