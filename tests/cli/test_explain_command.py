"""`kdbench explain` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny


@pytest.mark.slow
def test_a_run_is_explained_by_the_beginning_of_its_name(
    kdbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny("student_only", tmp_path).folder
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path))
    done = kdbench("explain", "student_only", "--only", "classes", "--only", "inputs")
    assert done.code == 0
    assert "made classes, inputs in" in done.out
    assert "inputs: The networks of this run see video alone." in done.out
    assert f"page: {folder / 'explain' / 'index.html'}" in done.out
    again = kdbench("explain", "student_only", "--only", "classes")
    assert "kept classes (--fresh makes them again)" in again.out


def test_no_such_run_is_a_usage_error_in_two_lines(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    done = kdbench("explain", "nothing", "--out", str(tmp_path))
    assert done.code == 2
    assert "there is no run 'nothing'" in done.err
    assert "Traceback" not in done.err
