"""Reading many runs: what is there, and what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_runs import least

from kdbench.errors import DataError
from kdbench.runs.store import stored_runs

RUN = least(seed=1)


def keep(root: Path, name: str, content: Any) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "run.json").write_text(text, encoding="utf-8")
    return folder


def test_runs_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    keep(tmp_path, "b", RUN | {"seed": 2, "status": "running", "metrics": None})
    folder = keep(tmp_path, "a", RUN)
    keep(tmp_path / "teachers", "t", RUN)
    pd.DataFrame({"trial": ["x"], "label": [0]}).to_parquet(folder / "predictions.parquet")
    runs, broken = stored_runs(tmp_path)
    assert [(run.method, run.seed, run.status) for run in runs] == [("rkd", 1, "finished"), ("rkd", 2, "running")]
    assert runs[0].metrics["accuracy"] == 0.5
    assert runs[1].metrics == {}
    assert list(runs[0].predictions()["trial"]) == ["x"]
    assert not broken


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"status": "runn', "JSON"),
        ([1], "list"),
        (RUN | {"schema_version": 99}, "version 99"),
        ({key: value for key, value in RUN.items() if key != "seed"}, "run.json: seed is missing"),
        (RUN | {"metrics": None}, "no metrics"),
        (RUN | {"conditions": []}, "conditions = a list of 0: expected a mapping"),
    ],
)
def test_a_broken_run_is_set_aside_with_the_reason(tmp_path: Path, content: Any, why: str) -> None:
    keep(tmp_path, "good", RUN)
    keep(tmp_path, "bad", content)
    runs, broken = stored_runs(tmp_path)
    assert [run.folder.name for run in runs] == ["good"]
    assert [each.folder.name for each in broken] == ["bad"]
    assert why in broken[0].why


def test_an_empty_store_holds_no_runs(tmp_path: Path) -> None:
    assert stored_runs(tmp_path / "nothing") == ([], [])


def test_lost_predictions_name_the_next_step(tmp_path: Path) -> None:
    keep(tmp_path, "a", RUN)
    with pytest.raises(DataError, match="cannot be read") as caught:
        stored_runs(tmp_path)[0][0].predictions()
    assert "--fresh" in str(caught.value.hint)
