"""The board says of submissions what `kdbench compare` says of the runs that they were made of."""

from __future__ import annotations

from pathlib import Path

import board_runs
import pytest

import kdbench
from kdbench.leaderboard.add import add
from kdbench.leaderboard.entry import found
from kdbench.leaderboard.tables import protocols
from kdbench.leaderboard.verify import verify

METHODS = {"student_only": 0.70, "kd": 0.80, "rkd": 0.72, "sp": 0.55, "kd_wrong_trials": 0.74}


def test_intervals_gains_and_verdicts_are_those_of_compare(tmp_path: Path) -> None:
    runs, board = tmp_path / "runs", tmp_path / "board"
    for method, right in METHODS.items():
        add(board_runs.runs(runs, method, base=method, right=right), board)
    (table,) = protocols(verify(found(board)))[0].tables
    (compared,) = kdbench.compare(runs).tables
    theirs = {row.method: row for row in compared.rows}
    assert set(theirs) == set(METHODS)
    for row in table.rows:
        other = theirs[row.label]
        ends = other.measures["accuracy"].low, other.measures["accuracy"].high
        assert table.intervals.of(row.label) == pytest.approx(ends)
        if other.gain is None:
            assert row is table.alone
            continue
        assert row.gain(table.alone) == pytest.approx(other.gain.difference)
        assert table.intervals.compared is not None
        assert table.intervals.compared.row(row.label).gain.p_holm == pytest.approx(other.gain.p_holm)
        assert table.intervals.verdict(row.label) == other.gain.verdict
