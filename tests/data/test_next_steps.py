"""Every error that a user meets says what to do: no message of these rooms goes without a hint."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kdbench

PACKAGE = Path(kdbench.__file__).parent
ROOMS = (
    *("cli", "comparison", "data", "explanation", "export", "grid", "launch", "leaderboard"),
    *("network", "recipes", "runs", "students", "testing", "tuning"),
)
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
ERRORS = {"UsageError", "DataError", "RunFailed", "Unavailable", "unknown"}


def without_hint(source: str) -> Iterator[int]:
    """Lines of errors that are made without a hint."""
    for node in ast.walk(ast.parse(source)):
        is_error = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS
        if is_error and all(keyword.arg != "hint" for keyword in node.keywords):
            yield node.lineno


def test_every_error_has_a_next_step() -> None:
    bare = [f"{path.relative_to(PACKAGE)}:{line}" for path in FILES for line in without_hint(path.read_text("utf-8"))]
    assert bare == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("raise DataError('x')", [1]),
        ("DataError('x', hint='y')", []),
        ("raise unknown('format', name, FORMATS)", [1]),
        ("raise unknown('format', name, FORMATS, hint='y')", []),
    ],
)
def test_an_error_without_a_next_step_is_seen(source: str, lines: list[int]) -> None:
    assert list(without_hint(source)) == lines
