"""The name that a user gives a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import tiny

from kdbench.errors import UsageError
from kdbench.runs.naming import LONGEST, checked_name
from kdbench.util.records import read_json


def test_a_name_is_a_label_that_changes_no_run(tmp_path: Path) -> None:
    first = tiny("student_only", tmp_path, name="  plain ")
    assert first.result["name"] == "plain"
    again = tiny("student_only", tmp_path, name="baseline")
    assert again.reused
    assert again.folder == first.folder
    assert again.result == first.result | {"name": "baseline"}
    assert read_json(first.folder / "run.json") == again.result
    assert tiny("student_only", tmp_path).result["name"] == "baseline"
    assert tiny("student_only", tmp_path, name="").result["name"] is None


@pytest.mark.parametrize("name", ["a\x1b[2J", "two\nlines", "x" * (LONGEST + 1)])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        checked_name(name)
