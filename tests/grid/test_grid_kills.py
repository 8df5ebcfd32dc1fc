"""A grid, killed at its file operations: nothing is lost, and repeating its command ends the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from killing import kill, sampled, survey

from kdbench.results.overview import overview

WORLD = ["--set", "data.options={actions: 3, subjects: 4, trials: 2}", "--device", "cpu", "--preset", "smoke"]
FEW = 3


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_TRACKING", "off")


def grid(out: Path) -> list[str]:
    given = ["--method", "student_only", "--dataset", "motionsim", "--seeds", "2", "--set", "student.train.epochs=1"]
    return ["run", *given, "--jobs", "2", *WORLD, "--out", str(out)]


def table(root: Path) -> list[tuple[Any, ...]]:
    """What the runs of a folder have come to."""
    return [(row.folder.name, row.name, row.status, row.accuracy) for row in overview(root)]


@pytest.mark.slow
def test_what_is_killed_at_a_file_operation_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, log = tmp_path / "whole", tmp_path / "log"
    operations = survey(grid(whole), below=tmp_path / "whole", log=log)
    assert len(operations) > FEW
    expected = table(whole)
    lost = []
    for at in sampled(len(operations), FEW):
        out = tmp_path / "killed"
        kill(grid(out), at=at, below=out, log=log)
        survey(grid(out), below=out, log=log)
        if table(out) != expected:
            lost.append(f"{at}: {operations[at]}: {table(out)}")
        left = [path for path in out.rglob("*") if ".tmp" in path.name]
        if left:
            lost.append(f"{at}: {operations[at]}: left {left}")
        shutil.rmtree(out)
    assert lost == []
