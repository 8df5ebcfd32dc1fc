"""The comparison of runs that were trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import tiny

import kdbench
from kdbench.comparison.text_tables import text_tables


@pytest.mark.slow
def test_trained_runs_are_compared(tmp_path: Path) -> None:
    runs = {method: tiny(method, tmp_path) for method in ("student_only", "kd")}
    found = kdbench.compare(tmp_path)
    methods = found.methods.set_index("method")
    assert "kd [teacher.train.epochs=8, teacher.train.batch_size=8]" in methods.index
    methods = methods.rename(index=lambda row: row.split(" [")[0])
    for method, run in runs.items():
        assert methods.loc[method, "accuracy"] == pytest.approx(run.metrics["accuracy"])
        assert methods.loc[method, "macro_f1"] == pytest.approx(run.metrics["macro_f1"])
        assert methods.loc[method, "weighted_f1"] == pytest.approx(run.metrics["weighted_f1"])
    gain = runs["kd"].metrics["accuracy"] - runs["student_only"].metrics["accuracy"]
    assert methods.loc["kd", "gain"] == pytest.approx(gain)
    assert methods.loc["kd", "teacher_accuracy"] == runs["kd"].result["teacher"]["accuracy"]
    assert "same 2 test subjects" in text_tables(found)[0].caption
    assert len(found.save(tmp_path / "saved")) > 15
