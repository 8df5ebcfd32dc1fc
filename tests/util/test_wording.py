"""Numbers and what is counted, in the singular and the plural."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import kdbench
from kdbench.text.wording import counted, inflected, ranges


@pytest.mark.parametrize(
    ("count", "noun", "plural", "expected"),
    [
        (0, "cell", None, "0 cells"),
        (1, "cell", None, "1 cell"),
        (2, "cell", None, "2 cells"),
        (1, "entry", None, "1 entry"),
        (3, "entry", None, "3 entries"),
        (3, "day", None, "3 days"),
        (2, "class", None, "2 classes"),
        (2, "branch", None, "2 branches"),
        (1, "data set", None, "1 data set"),
        (2, "data set", None, "2 data sets"),
        (1, "axis", "axes", "1 axis"),
        (4, "axis", "axes", "4 axes"),
    ],
)
def test_counts_in_singular_and_plural(count: int, noun: str, plural: str | None, expected: str) -> None:
    assert counted(count, noun, plural) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((), ""),
        ((3,), "3"),
        ((0, 1), "0, 1"),
        ((0, 1, 2, 3, 4), "0–4"),
        ((5, 2, 1, 0), "0–2, 5"),
        ((0, 2, 4), "0, 2, 4"),
    ],
)
def test_three_numbers_in_a_row_are_a_range(numbers: tuple[int, ...], expected: str) -> None:
    assert ranges(numbers) == expected


def test_inflects_verbs() -> None:
    assert [inflected(n, "is") for n in (0, 1, 2)] == ["are", "is", "are"]
    assert inflected(1, "has") == "has"
    assert inflected(2, "was") == "were"
    assert inflected(2, "stands", "stand") == "stand"


@pytest.mark.slow
def test_no_message_writes_a_plural_behind_a_length_by_hand() -> None:
    # `{len(cells)} cells` says "1 cells" some day; `{len(text):,} digits` is of many.
    root = Path(kdbench.__file__).parent
    modules = [path for path in sorted(root.rglob("*.py")) if "templates" not in path.parts]
    found = [f"{path.relative_to(root)}: {words}" for path in modules for words in _by_hand(path)]
    assert found == []


def _by_hand(path: Path) -> list[str]:
    """What follows a `len(…)` in a file's f-strings where it begins with a plural."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or value.format_spec is not None:
                continue
            is_length = ast.unparse(value.value).startswith("len(")
            if is_length and isinstance(text, ast.Constant) and re.match(r" [a-z]+(?<!s|i)s\b", str(text.value)):
                found.append(ast.unparse(value.value) + str(text.value))
    return found
