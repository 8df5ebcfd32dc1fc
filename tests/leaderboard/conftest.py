"""A board with three submissions."""

from __future__ import annotations

from pathlib import Path

import board_runs
import pytest

from kdbench.leaderboard.add import add


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """An empty board."""
    folder = tmp_path / "leaderboard"
    folder.mkdir()
    return folder


@pytest.fixture
def submission(tmp_path: Path, board: Path) -> Path:
    """One submission of three seeds."""
    return add(board_runs.runs(tmp_path / "runs", "kd"), board)
