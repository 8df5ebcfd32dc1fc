"""`kdbench search`: what it prints, what it hands on, and its place in MLflow."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import WORLD

RATE = ["--space", "student.train.lr=0.001..0.01:log"]
TINY = ["--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--set", *WORLD]


@pytest.mark.slow
def test_a_search_prints_its_winner_and_the_next_command(
    kdbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("KDBENCH_TRACKING", raising=False)
    given = ["search", "--method", "student_only", *TINY, *RATE, "--trials", "1", "--no-final", "--out", str(tmp_path)]
    done = kdbench(*given)
    assert done.code == 0, done.err
    assert "the best of 1 trial" in done.out
    assert "over trials, validation accuracy" in done.out
    assert "without --no-final trains the winner" in done.out
    (recipe,) = [line.split(maxsplit=1)[1] for line in done.out.splitlines() if line.startswith("recipe:")]
    assert "actions: 4" in Path(recipe).read_text()
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        names = dict(store.execute("SELECT name, run_uuid FROM runs").fetchall())
        parents = store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'").fetchall()
    assert parents == [(names["student_only seed 0"], names["search student_only"])]
    given.remove("--no-final")
    again = kdbench(*given, "--seeds", "2")
    assert "going on: 1 of 1 trial is there already" in again.out
    (command,) = [line.partition(" ")[2] for line in again.out.splitlines() if line.startswith("next:")]
    compared = kdbench(*shlex.split(command)[1:], "--show", "conditions")
    assert compared.code == 0, compared.err
    assert "tuned: 1 trial" in compared.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--space", "student.train.lr=1..1"], "the range is empty"),
        (["--space", "student.train.rl=0.1..1"], "did you mean 'student.train.lr'"),
        (["--sampler", "tpi"], "unknown sampler 'tpi'; did you mean 'tpe'?"),
        (["--pruner", "mode"], "unknown pruner 'mode'"),
        (["--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--storage", "nowhere"], "--storage nowhere cannot be opened"),
    ],
)
def test_a_wrong_search_is_a_usage_error(
    kdbench: Callable[..., Any], tmp_path: Path, given: list[str], said: str
) -> None:
    done = kdbench("search", "--method", "student_only", *TINY, "--out", str(tmp_path), *given)
    assert done.code == 2
    assert said in done.err
