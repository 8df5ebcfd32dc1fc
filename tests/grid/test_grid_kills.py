"""A grid, killed at its file operations: nothing is lost, and repeating its command ends the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from killing import lost_by_kills

from kdbench.runs.overview import overview

WORLD = ["--set", "data.options={actions: 3, subjects: 4, trials: 2}", "--device", "cpu", "--preset", "smoke"]
FEW = 3


def grid(out: Path) -> list[str]:
    given = ["--method", "student_only", "--dataset", "motionsim", "--seeds", "2", "--set", "student.train.epochs=1"]
    return ["run", *given, "--jobs", "2", *WORLD, "--out", str(out)]


def table(root: Path) -> list[tuple[Any, ...]]:
    """What the runs of a folder have come to."""
    return [(row.folder.name, row.name, row.status, row.accuracy) for row in overview(root)]


@pytest.mark.slow
def test_what_is_killed_at_a_file_operation_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    assert lost_by_kills(grid, table, tmp_path, few=FEW) == []
