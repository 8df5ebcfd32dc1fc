"""`leaderboard add` and `build`, killed at their file operations: whole or not there, repeatable, nothing left over."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import board_runs
import killing
import pytest

from kdbench.cli import main
from kdbench.leaderboard.add import add
from kdbench.leaderboard.entry import found
from kdbench.leaderboard.staging import staged
from kdbench.leaderboard.verify import verify

POINTS = 3
SMALL = ("motionsim", "cross_subject", {"actions": 3, "subjects": 4, "trials": 2, "cameras": 2})
"""A data set of few trials: what is killed is the same, and takes less time."""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_an_add_that_is_killed_anywhere_is_whole_or_not_there_and_can_be_repeated(tmp_path: Path) -> None:
    made = [str(folder) for folder in board_runs.runs(tmp_path / "runs", "kd", on=SMALL)]
    board, log = tmp_path / "board", tmp_path / "log.txt"
    command = ["leaderboard", "add", *made, "--to", str(board)]
    operations = killing.survey(command, below=board, log=log)
    wanted = files_of(board)
    assert len(wanted) == 4
    for at in killing.sampled(len(operations), POINTS):
        shutil.rmtree(board)
        assert killing.kill(command, at=at, below=board, log=log)
        checked = verify(found(board)) if board.is_dir() else []
        assert all(held.problems == () for held in checked), (at, operations[at])
        assert not killing.kill(command, at=10**6, below=board, log=log), operations[at]
        assert files_of(board) == wanted, operations[at]
        assert [path.name for path in (board / "submissions").iterdir()] == ["motionsim"], operations[at]


@pytest.mark.slow
def test_a_build_that_is_killed_anywhere_leaves_the_old_site_or_the_new_one(tmp_path: Path) -> None:
    board, site, log = tmp_path / "board", tmp_path / "out" / "site", tmp_path / "log.txt"
    add(board_runs.runs(tmp_path / "a", "kd", on=SMALL), board)
    command = ["leaderboard", "build", "--board", str(board), "--out", str(site)]
    with pytest.raises(SystemExit):
        main(command)
    old = files_of(site)
    add(board_runs.runs(tmp_path / "b", "rkd", base="rkd", on=SMALL), board)
    operations = killing.survey(command, below=site.parent, log=log)
    new = files_of(site)
    assert set(old) < set(new)
    for at in killing.sampled(len(operations), POINTS):
        shutil.rmtree(site.parent)
        site.mkdir(parents=True)
        for name, content in old.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_bytes(content)
        assert killing.kill(command, at=at, below=site.parent, log=log)
        assert files_of(site) in (old, new), operations[at]
        assert not killing.kill(command, at=10**6, below=site.parent, log=log), operations[at]
        assert files_of(site) == new, operations[at]
        assert [path.name for path in site.parent.iterdir()] == ["site"], operations[at]


@pytest.mark.slow
def test_many_builds_at_once_all_end_well(tmp_path: Path) -> None:
    board, site = tmp_path / "board", tmp_path / "out" / "site"
    add(board_runs.runs(tmp_path / "a", "kd", on=SMALL), board)
    command = ["leaderboard", "build", "--board", str(board), "--out", str(site)]
    logs = [tmp_path / f"log{number}.txt" for number in range(3)]
    with ThreadPoolExecutor(len(logs)) as pool:
        list(pool.map(lambda log: killing.survey(command, below=site.parent, log=log), logs))
    assert [path.name for path in site.parent.iterdir()] == ["site"]


def test_a_folder_in_use_is_left_alone_and_one_that_was_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".add.01234567.tmp" / "half").mkdir(parents=True)
    (tmp_path / ".add.notes.tmp").mkdir()
    with staged(tmp_path, "add") as first:
        with staged(tmp_path, "add") as second:
            assert {first, second, tmp_path / ".add.notes.tmp"} == set(tmp_path.iterdir())
        assert first.is_dir()
    assert list(tmp_path.iterdir()) == [tmp_path / ".add.notes.tmp"]
