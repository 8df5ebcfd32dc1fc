"""Files of a run that were damaged or swapped: never another number in silence."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import StopAfter, tiny

from kdbench.errors import Interrupted
from kdbench.runs.run import RunResult

CHANGES = ("student.train.epochs=4", "student.train.batch_size=8", "selection.rule=best-val")


def made(root: Path, seed: int = 0, **arguments: Any) -> RunResult:
    return tiny("hinton_raw", root, *CHANGES, seed=seed, **arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, RunResult]:
    """Finished runs of two seeds."""
    root = tmp_path_factory.mktemp("whole")
    return {seed: made(root, seed) for seed in (0, 1)}


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, whole: dict[int, RunResult]) -> Path:
    """The same two, stopped after their third epoch."""
    root = tmp_path_factory.mktemp("half")
    shutil.copytree(whole[0].folder.parent / "teachers", root / "teachers")
    for seed in (0, 1):
        with pytest.raises(Interrupted):
            made(root, seed, reporter=StopAfter("student", 3))
    return root


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    def copied(root: Path) -> Path:
        return Path(shutil.copytree(root, tmp_path / "runs"))

    return copied


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def zero(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    path.write_bytes(content)


DAMAGES = {"flip": flip, "truncate": truncate, "zero": zero}


def swap(root: Path, pattern: str) -> Path:
    """Puts the file of seed 1 in the place of that of seed 0."""
    (mine,) = root.glob(pattern.format("s0"))
    (other,) = root.glob(pattern.format("s1"))
    mine.write_bytes(other.read_bytes())
    return mine


def same(now: RunResult, then: RunResult) -> None:
    assert np.array_equal(now.predictions(), then.predictions())
    assert now.metrics == then.metrics
    assert now.result["teacher"] == then.result["teacher"]
    assert (now.folder / "student.safetensors").read_bytes() == (then.folder / "student.safetensors").read_bytes()


def warned(result: RunResult, text: str) -> bool:
    return any(text in warning for warning in result.result["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "damage"),
    [("teacher.safetensors", "flip"), ("teacher.safetensors", "truncate"), ("teacher.json", "flip")],
)
def test_a_damaged_teacher_is_trained_again(
    file: str, damage: str, whole: dict[int, RunResult], copy: Callable[[Path], Path]
) -> None:
    root = copy(whole[0].folder.parent)
    shutil.rmtree(root / whole[0].folder.name)
    (path,) = root.glob(f"teachers/*-s0-*/{file}")
    DAMAGES[damage](path, random.Random(3))
    again = made(root)
    same(again, whole[0])
    assert warned(again, "a teacher is damaged, and is trained again")


@pytest.mark.slow
def test_another_runs_teacher_is_told(whole: dict[int, RunResult], copy: Callable[[Path], Path]) -> None:
    root = copy(whole[0].folder.parent)
    shutil.rmtree(root / whole[0].folder.name)
    for name in ("teacher.json", "teacher.safetensors", "metrics.jsonl"):
        swap(root, f"teachers/*-{{}}-*/{name}")
    again = made(root)
    same(again, whole[0])
    assert warned(again, "belongs to the teacher")


@pytest.mark.slow
def test_a_teachers_metrics_go_by_its_weights(whole: dict[int, RunResult], copy: Callable[[Path], Path]) -> None:
    root = copy(whole[0].folder.parent)
    shutil.rmtree(root / whole[0].folder.name)
    (path,) = (each for each in root.glob("teachers/*-s0-*/metrics_test_b*.json") if "_b8" in each.name)
    swap(root, f"teachers/*-{{}}-*/{path.name}")
    again = made(root)
    same(again, whole[0])
    shutil.rmtree(again.folder)
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "accuracy": 1.0}))
    again = made(root)
    same(again, whole[0])
    assert warned(again, "the teacher is evaluated again")


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before(
    damage: str, whole: dict[int, RunResult], half: Path, copy: Callable[[Path], Path]
) -> None:
    root = copy(half)
    (path,) = root.glob("*-s0-*/checkpoint/state.safetensors")
    DAMAGES[damage](path, random.Random(5))
    again = made(root)
    same(again, whole[0])
    assert warned(again, "it goes on after epoch 2 instead")


@pytest.mark.slow
def test_a_training_without_a_whole_state_starts_again(
    whole: dict[int, RunResult], half: Path, copy: Callable[[Path], Path]
) -> None:
    root = copy(half)
    swap(root, "*-{}-*/checkpoint/state.safetensors")
    (path,) = root.glob("*-s0-*/checkpoint/previous.safetensors")
    truncate(path, random.Random(7))
    again = made(root)
    same(again, whole[0])
    assert warned(again, "is the state of another training")
    assert warned(again, "it starts from its first epoch")


@pytest.mark.slow
def test_the_weights_of_the_best_epoch_are_checked_too(
    whole: dict[int, RunResult], half: Path, copy: Callable[[Path], Path]
) -> None:
    root = copy(half)
    for path in root.glob("*-s0-*/checkpoint/best-*.safetensors"):
        flip(path, random.Random(9))
    again = made(root)
    same(again, whole[0])
    assert warned(again, "a state of this training is not used")


@pytest.mark.slow
def test_a_log_that_was_changed_is_made_again(
    whole: dict[int, RunResult], half: Path, copy: Callable[[Path], Path]
) -> None:
    root = copy(half)
    (path,) = root.glob("*-s0-*/metrics.jsonl")
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 9'))
    again = made(root)
    same(again, whole[0])
    assert warned(again, "is not what this training had written")
    assert [json.loads(line)["epoch"] for line in (again.folder / "metrics.jsonl").open()] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["predictions.parquet", "student.safetensors", "metrics.jsonl", "run.json"])
def test_a_damaged_result_is_trained_again(
    file: str, whole: dict[int, RunResult], copy: Callable[[Path], Path]
) -> None:
    root = copy(whole[0].folder.parent)
    path = root / whole[0].folder.name / file
    if file == "run.json":
        accuracy = f'"accuracy": {whole[0].metrics["accuracy"]}'
        path.write_text(path.read_text().replace(accuracy, '"accuracy": 0.875'))
    else:
        flip(path, random.Random(1))
    again = made(root)
    assert not again.reused
    same(again, whole[0])
    assert warned(again, "the finished run is damaged, and is trained again")
    assert made(root).reused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content"),
    [("run.json", "[]"), ("run.json", "[" * 100_000), ("run.json", '{"schema_version": NaN}'), ("teacher.json", "{}")],
)
def test_what_is_no_result_is_put_aside_by_name(
    file: str, content: str, half: Path, copy: Callable[[Path], Path], whole: dict[int, RunResult]
) -> None:
    root = copy(half)
    (path,) = [*root.glob(f"*-s0-*/{file}"), *root.glob(f"teachers/*-s0-*/{file}")]
    path.write_text(content, encoding="latin-1")
    again = made(root)
    same(again, whole[0])
    assert warned(again, str(path) if file == "teacher.json" else "run.json")


@pytest.mark.slow
def test_equal_runs_have_equal_files(whole: dict[int, RunResult], tmp_path: Path) -> None:
    again = made(tmp_path)
    for name in ("student.safetensors", "predictions.parquet"):
        assert (again.folder / name).read_bytes() == (whole[0].folder / name).read_bytes()
    assert again.result["files"]["student.safetensors"] == whole[0].result["files"]["student.safetensors"]


@pytest.mark.slow
def test_a_neighbours_damage_costs_no_run(tmp_path: Path) -> None:
    alone = tiny("student_only", tmp_path)
    for content in ("{}", "[]", "5", "[" * 100_000):
        (alone.folder / "run.json").write_text(content)
        result = tiny("hinton_raw", tmp_path, fresh=True)
        assert result.result["status"] == "finished"
