"""Commands that read runs, where a `run.json` was edited: a sentence, and the other runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run

from kdbench.errors import DataError
from kdbench.runs.overview import overview
from kdbench.runs.store import stored_run
from kdbench.util.records import read_json, write_json

Command = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_run(tmp_path, "student_only", wrong=20, folder="student_only-u-s0-aaaa000000")
    make_run(tmp_path, "kd", wrong=8, folder="kd-u-s0-bbbb000000")
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("metrics.accuracy", "x", "metrics.accuracy = 'x': expected a number"),
        ("metrics", {}, "metrics.accuracy is missing"),
        ("metrics.accuracy", float("nan"), "metrics.accuracy = nan: expected a finite number"),
        ("cost", 5, "cost = 5: expected a mapping"),
        ("recipe", {}, "recipe.teacher is missing; recipe.student is missing"),
        ("conditions", {}, "conditions.dataset is missing"),
        ("teacher", [1], "teacher = a list of 1: expected a mapping"),
        ("teacher.folder", "../x", "teacher.folder = '../x': expected"),
        ("seed", 10**30, "expected at most 9223372036854775807"),
        ("seed", "0", "seed = '0': expected a whole number"),
        ("name", [1], "name = a list of 1: expected text"),
        ("warnings", "x", "warnings = 'x': expected a list"),
    ],
)
def test_every_command_names_the_file_the_key_and_what_was_expected(
    root: Path, kdbench: Command, key: str, value: Any, said: str
) -> None:
    folder = root / "kd-u-s0-bbbb000000"
    path = folder / "run.json"
    result = read_json(path)
    *above, last = key.split(".")
    place = result
    for name in above:
        place = place[name]
    place[last] = value
    path.write_text(json.dumps(result))
    listed = kdbench("runs", "list", "--out", str(root))
    assert listed.code == 0
    assert "student_only" in listed.out
    assert "damaged: kd-u-s0-bbbb000000: run.json: " in listed.out
    for words in (
        ("runs", "show", "bbbb", "--out", str(root)),
        ("leaderboard", "add", str(folder), "--to", str(root / "board")),
        ("explain", str(folder)),
    ):
        refused = kdbench(*words)
        assert refused.code != 0, words
        assert str(path) in refused.err.replace("\n", ""), words
        assert "Traceback" not in refused.err
    compared = kdbench("compare", "--out", str(root))
    assert compared.code == 0
    told = " ".join(compared.out.split())
    assert "run.json: " in told
    with pytest.raises(DataError) as caught:
        stored_run(folder)
    assert said in str(caught.value)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_metric_that_the_predictions_do_not_give_is_not_shown(root: Path, kdbench: Command, metric: str) -> None:
    path = root / "kd-u-s0-bbbb000000" / "run.json"
    result = read_json(path)
    result["metrics"][metric] = 0.99
    write_json(path, result)
    row = next(row for row in overview(root) if row.method == "kd")
    assert (row.status, row.accuracy) == ("damaged", None)
    assert row.message.startswith(f"run.json says {metric} 0.990000, its predictions give 0.")
    assert (
        f"damaged: kd-u-s0-bbbb000000: run.json says {metric} 0.99" in kdbench("runs", "list", "--out", str(root)).out
    )
    shown = kdbench("runs", "show", "bbbb", "--out", str(root)).out
    assert f"run.json says {metric} 0.99" in shown
    assert "99.00" not in shown
