"""What conditions that keep tables apart are called."""

from __future__ import annotations

import pytest

from kdbench.comparison.headings import brief


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["train.epochs"], ["epochs"]),
        (["student.representation.name", "student.encoder.name"], ["representation", "encoder"]),
        (["student.encoder.name", "teacher.encoder.name"], ["student.encoder", "teacher.encoder"]),
        (["student.train.epochs", "teacher.train.epochs"], ["student.train.epochs", "teacher.train.epochs"]),
        (["name", "data.name"], ["name", "data"]),
        (["seed"], ["seed"]),
    ],
)
def test_a_condition_is_called_by_what_tells_it_apart(keys: list[str], words: list[str]) -> None:
    assert list(brief(keys).values()) == words
    assert list(brief(keys)) == keys
