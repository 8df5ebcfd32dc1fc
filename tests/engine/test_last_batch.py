"""What becomes of trials that do not fill the last batch of an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import known, watching
from torch import Tensor

from kdbench import loss
from kdbench.data.loader import batch_count, batch_slices
from kdbench.engine.optim import learning_rate
from kdbench.errors import Interrupted, RunFailed
from kdbench.recipes.network_spec import Train
from kdbench.runs.run import RunResult, run
from kdbench.types import Batch
from kdbench.util.progress import Reporter
from kdbench.util.records import read_jsonl

NINE = "data.options={actions: 3, subjects: 5, trials: 1}"
"""15 trials of three actions: nine train."""
ALONE = ("student.train.batch_size=4", "student.train.epochs=2")


def _run(method: str, out: Path, *overrides: str, **arguments: Any) -> RunResult:
    return run(method, "motionsim", preset="smoke", device="cpu", out=out, overrides=[NINE, *overrides], **arguments)


@pytest.mark.parametrize(
    ("count", "size", "alone", "joined"),
    [
        (9, 4, [4, 4, 1], [4, 5]),
        (10, 4, [4, 4, 2], [4, 4, 2]),
        (8, 4, [4, 4], [4, 4]),
        (3, 2, [2, 1], [3]),
        (3, 1, [1, 1, 1], [1, 1, 1]),
        (1, 4, [1], [1]),
        (0, 4, [], []),
    ],
)
def test_the_sizes_of_batches(count: int, size: int, alone: list[int], joined: list[int]) -> None:
    for join, expected in ((False, alone), (True, joined)):
        parts = batch_slices(count, size, join_single=join)
        assert [len(range(count)[part]) for part in parts] == expected
        assert [place for part in parts for place in range(count)[part]] == list(range(count))
        assert batch_count(count, size, join_single=join) == len(expected)


@pytest.mark.slow
def test_a_single_trial_joins_the_batch_before_in_every_method_alike(tmp_path: Path) -> None:
    batches, rates = {}, {}
    teacher = ("teacher.train.epochs=8", "teacher.train.batch_size=4")
    for method in ("student_only", "hinton"):
        with watching() as seen:
            changes = (*ALONE, *(teacher if method == "hinton" else ()), "student.losses.watch.weight=1")
            result = _run(method, tmp_path, *changes)
        batches[method] = [trials for trials, _ in seen][-4:]
        records = read_jsonl(result.folder / "metrics.jsonl")
        rates[method] = [record["lr"] for record in records if record["phase"] == "student"]
    assert [len(trials) for trials in batches["hinton"]] == [4, 5, 4, 5]
    assert batches["hinton"] == batches["student_only"]
    # The schedule has the training's four steps.
    train = Train.model_validate(result.result["recipe"]["student"]["train"])
    assert rates["hinton"] == rates["student_only"] == [learning_rate(train, step, 4) for step in (1, 3)]


def test_an_error_in_a_joined_batch_names_all_of_its_trials(tmp_path: Path) -> None:
    joined: list[tuple[str, ...]] = []

    @loss("fragile", on="logits", teacher=False)
    def fragile(student: Tensor, batch: Batch) -> Tensor:
        if len(batch) == 5:
            joined.append(batch.trial)
        return student.mean() * (float("nan") if len(batch) == 5 else 1.0)

    with known(fragile), pytest.raises(RunFailed, match=r"epoch 1, step 2, on the trials") as caught:
        _run("student_only", tmp_path, *ALONE, "student.losses.fragile.weight=1")
    assert f"on the trials {', '.join(joined[0])};" in str(caught.value)


@pytest.mark.slow
def test_batch_norm_over_one_position_trains_though_a_single_trial_is_left(tmp_path: Path) -> None:
    encoder = 'student.encoder={name: "torchvision:r2plus1d_18", weights: random}'
    result = _run("student_only", tmp_path, *ALONE, encoder, "data.frames=4", "data.frame_size=16")
    assert result.result["status"] == "finished"


class StopAfterTheFirst(Reporter):
    """Interrupts a run after its first epoch."""

    def end_epoch(self, record: dict[str, Any]) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_with_a_joined_batch_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    whole = _run("student_only", tmp_path / "whole", *ALONE)
    with pytest.raises(Interrupted):
        _run("student_only", tmp_path / "stopped", *ALONE, reporter=StopAfterTheFirst())
    resumed = _run("student_only", tmp_path / "stopped", *ALONE)
    assert resumed.result["resumed"] == 1
    assert resumed.predictions().equals(whole.predictions())
