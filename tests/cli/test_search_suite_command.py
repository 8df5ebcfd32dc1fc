"""`kdbench search` over several methods: what it prints, refuses and goes on with; and the tuned methods."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import WORLD

from kdbench.cli import completion
from kdbench.errors import Interrupted, RunFailed, UsageError
from kdbench.recipes import shipped
from kdbench.recipes.resolve import resolve
from kdbench.tuning import suite as suites

TINY = ["--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--set", *WORLD]


def test_a_dry_run_makes_nothing(tmp_path: Path, kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "runs"
    given = ["search", "--method", "student_only", "--method", "rkd_raw", *TINY, "--trials", "7", "--out", str(out)]
    done = kdbench(*given, "--recipes", str(tmp_path / "tuned"), "--dry-run")
    assert done.code == 0, done.err
    assert "2 methods, 7 trials each" in done.out
    assert "pruner median" in done.out
    assert "student.losses.rkd.weight: 0.0333333 … 30 (log), first 1" in done.out
    assert "no earlier trial or run tells" in done.out
    assert not out.exists()
    assert not (tmp_path / "tuned").exists()
    # Nor are data prepared.
    assert not (tmp_path / "cache").exists()
    assert "pruner none" in kdbench("search", "--method", "rkd_raw", *TINY, "--out", str(out), "--dry-run").out


def test_names_are_refused_together(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    done = kdbench("search", "--method", "rdk", "--method", "hintn", "--dataset", "motionsm", "--out", str(tmp_path))
    assert done.code == 2
    assert "3 problems with what is named" in done.err
    assert "loading torch" not in done.out
    assert "--method is missing" in kdbench("search", "--dataset", "motionsim").err
    several = ["search", "--method", "rkd", "--method", "hinton", "--dataset", "motionsim"]
    assert "--study names one study" in kdbench(*several, "--study", "mine").err


@pytest.mark.slow
def test_a_suite_is_searched_stopped_and_gone_on_with(
    tmp_path: Path, kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    longer = {"name": "student_only", "label": "longer", "set": {"student": {"train": {"epochs": 3}}}}
    options = {"data": {"options": {"actions": 4, "subjects": 4, "trials": 3}}}
    content = {"datasets": ["motionsim"], "preset": "smoke", "set": options, "methods": ["student_only", longer]}
    path.write_text(yaml.safe_dump(content))
    given = ["search", "--suite", str(path), "--device", "cpu", "--trials", "2", "--no-final"]
    given += ["--out", str(tmp_path / "runs"), "--recipes", str(tmp_path / "tuned")]
    original = suites.carry_out

    def stopped(search: Any, *rest: Any) -> Any:
        if search.recipe.student.train.epochs == 3:
            raise Interrupted("interrupted")
        return original(search, *rest)

    monkeypatch.setattr(suites, "carry_out", stopped)
    first = kdbench(*given)
    assert first.code == 130
    assert "1 method to go" in first.out
    assert "what is finished is kept" in first.err
    monkeypatch.setattr(suites, "carry_out", original)
    second = kdbench(*given)
    assert second.code == 0, second.err
    assert "[1/2] student_only: 2 trials\n  going on: 2 of 2 trials are there already" in second.out
    assert "[2/2] longer: 2 trials" in second.out
    assert sorted(path.name for path in (tmp_path / "tuned").glob("*.yaml")) == ["longer.yaml", "student_only.yaml"]

    def failing(search: Any, *rest: Any) -> Any:
        raise RunFailed("the disk is full")

    monkeypatch.setattr(suites, "carry_out", failing)
    monkeypatch.setattr(sys, "argv", ["kdbench", *given])
    third = kdbench(*given)
    assert third.code == 1
    assert "failed: longer: the disk is full" in third.out
    assert f"go on: kdbench search --suite {path} " in third.out


def test_shipped_tuned_recipes_go_by_their_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kdbench: Callable[..., Any]
) -> None:
    recipes, copy = shipped.paths.folder("methods"), tmp_path / "methods"
    (copy / "tuned/motionsim").mkdir(parents=True)
    for path in recipes.rglob("*.yaml"):
        (copy / path.relative_to(recipes)).parent.mkdir(exist_ok=True)
        (copy / path.relative_to(recipes)).write_text(path.read_text())
    key = "student.train.lr"
    under = {"dataset": "motionsim", "protocol": "cross_subject", "preset": "smoke"}
    record = {"budget": {"trials": 3}, "study": "one", "space": {key: {"low": 0.1, "high": 1}}, "best": {key: 0.2}}
    content = {"summary": "tuned", "extends": "kd", "teacher": "raw", "student": {"train": {"lr": 0.2}}}
    content["tuning"] = record | {"under": under}
    (copy / "tuned/motionsim/kd+raw.yaml").write_text(yaml.safe_dump(content))
    (copy / "tuned/motionsim/kd+raw.search.json").write_text("{}")
    original = shipped.paths.folder
    monkeypatch.setattr(shipped.paths, "folder", lambda name: copy if name == "methods" else original(name))
    name = "tuned/motionsim/kd+raw"
    assert shipped.tuned() == [name]
    held = resolve(name, "smoke")
    assert held.name == "hinton_raw"
    assert held.tuning is not None
    listed = kdbench("list", "methods").out
    assert listed.index("tuned methods") < listed.index(name)
    assert [row["name"] for row in json.loads(kdbench("list", "methods", "--json").out)["tuned methods"]] == [name]
    described = kdbench("describe", name, "--preset", "smoke").out
    assert "kd (tuned) · method" in described
    assert "kdbench run --method tuned/motionsim/kd+raw --dataset motionsim" in described
    assert completion.methods("tun") == [name]
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"extends: {name}\n")
    assert resolve(str(mine), "smoke").tuning == held.tuning
    with pytest.raises(UsageError, match=r"did you mean 'tuned/motionsim/kd\+raw'"):
        resolve("tuned/motionsim/kd+rw", "smoke")
