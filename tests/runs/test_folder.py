"""A run's folder: killed at any of its file operations, nothing is lost and the numbers stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import WORLD
from killing import kill, sampled, survey

from kdbench.runs.store import stored_run
from kdbench.util.records import is_sealed, unlike

CHANGES = [*WORLD, "teacher.train.epochs=3", "teacher.train.batch_size=8", "student.train.epochs=2"]
POINTS = 3


def command(root: Path, *more: str) -> list[str]:
    words = ["run", "--method", "hinton_raw", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu"]
    return [*words, *(word for change in CHANGES for word in ("--set", change)), "--out", str(root), *more]


def result(root: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """The finished run as every reader finds it, if it is whole."""
    (folder,) = (path.parent for path in root.glob("*/run.json"))
    run = stored_run(folder)
    assert run.status == "finished"
    assert is_sealed(run.result)
    assert not unlike(run.place or folder, run.result["files"])
    return dict(run.result), run.predictions()


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.suffix == ".tmp" or path.name in ("checkpoint", "fresh")]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reference")
    operations = survey(command(root / "runs"), below=root / "runs", log=root / "log")
    (root / "operations").write_text(json.dumps(operations))
    return root


@pytest.mark.slow
def test_a_run_that_is_killed_anywhere_goes_on_to_the_same_numbers(reference: Path, tmp_path: Path) -> None:
    wanted = result(reference / "runs")
    count = len(json.loads((reference / "operations").read_text()))
    for at in sampled(count, POINTS):
        root = tmp_path / str(at)
        root.mkdir()
        kill(command(root), at=at, below=root, log=tmp_path / "log")
        survey(command(root), below=root, log=tmp_path / "log")
        found = result(root)
        assert found[0]["metrics"] == wanted[0]["metrics"], at
        assert found[0]["teacher"] == wanted[0]["teacher"], at
        pd.testing.assert_frame_equal(found[1], wanted[1])
        assert not leftovers(root), at
        shutil.rmtree(root)


@pytest.mark.slow
def test_a_finished_result_stays_whole_until_the_new_one_is(reference: Path, tmp_path: Path) -> None:
    wanted = result(reference / "runs")
    root = tmp_path / "runs"
    shutil.copytree(reference / "runs", root)
    count = len(survey(command(root, "--fresh"), below=root, log=tmp_path / "log"))
    for at in sampled(count, POINTS):
        shutil.rmtree(root)
        shutil.copytree(reference / "runs", root)
        kill(command(root, "--fresh"), at=at, below=root, log=tmp_path / "log")
        # One of the two is there for whoever reads now, and the same command ends it.
        pd.testing.assert_frame_equal(result(root)[1], wanted[1])
        survey(command(root), below=root, log=tmp_path / "log")
        found = result(root)
        assert found[0]["metrics"] == wanted[0]["metrics"], at
        pd.testing.assert_frame_equal(found[1], wanted[1])
        assert not leftovers(root), at
