"""In which epochs the norms of the terms' gradients are recorded."""

from __future__ import annotations

from pathlib import Path

from helpers import tiny

from kdbench.engine.sums import RECORDED, is_recorded
from kdbench.runs.training import records_of


def recorded(epochs: int) -> list[int]:
    return [epoch for epoch in range(1, epochs + 1) if is_recorded(epoch, epochs)]


def test_a_short_training_records_all_and_a_long_one_about_ten() -> None:
    assert recorded(1) == [1]
    assert recorded(8) == list(range(1, 9))
    assert recorded(30) == [1, *range(3, 31, 3)]
    for epochs in range(20, 400, 7):
        found = recorded(epochs)
        assert found[0] == 1
        assert found[-1] == epochs
        assert RECORDED <= len(found) <= RECORDED + 10


def test_a_run_records_them_there_alone(tmp_path: Path) -> None:
    run = tiny("student_only", tmp_path, "student.train.epochs=21")
    records = records_of(run.folder)
    assert [bool(record["grad_norms"]) for record in records] == [is_recorded(epoch, 21) for epoch in range(1, 22)]
    assert (run.folder / "learning_curves.png").is_file()
