"""A board with three submissions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import board_runs
import pytest

from kdbench.leaderboard.add import add


@pytest.fixture(scope="module", autouse=True)
def nothing_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every build checks every submission, whatever an earlier one has kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdbench.leaderboard.keep.cache_dir", lambda: tmp_path_factory.mktemp("keep"))
        yield


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
