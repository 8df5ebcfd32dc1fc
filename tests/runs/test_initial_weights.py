"""Weights that a training begins with, and what may not have trained them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import WORLD, tiny

from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.runs.run import run
from kdbench.util.records import read_safetensors

STILL = ["student.train.epochs=1", "student.train.lr=1e-12"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student that learnt from pairs without a label."""
    return tiny("hinton_raw", tmp_path_factory.mktemp("runs"), "track.labels=0").folder


@pytest.mark.slow
def test_a_training_begins_with_the_weights_of_a_run(pretrained: Path, tmp_path: Path) -> None:
    begun = tiny("student_only", tmp_path, f"student.initial_weights={pretrained}", *STILL)
    plain = tiny("student_only", tmp_path, *STILL)
    given, ours, theirs = (
        read_safetensors(folder / "student.safetensors") for folder in (pretrained, begun.folder, plain.folder)
    )
    # What is counted over batches goes on counting.
    learnt = [name for name in given if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(ours[name], given[name], atol=1e-6) for name in learnt)
    assert not all(torch.allclose(theirs[name], given[name], atol=1e-6) for name in learnt)
    # With other weights to begin with it is another run, under other conditions.
    assert begun.folder != plain.folder
    assert begun.result["conditions"]["weights"] != plain.result["conditions"]["weights"]


@pytest.mark.slow
def test_weights_that_trials_of_the_test_part_trained_are_refused(pretrained: Path, tmp_path: Path) -> None:
    given = f"student.initial_weights={pretrained}"
    with pytest.raises(
        UsageError, match="was trained under the protocol 'cross_subject' on 8 trials that this run tests"
    ):
        tiny("student_only", tmp_path, given, protocol="subject_specific")
    # Its training part had the trials that would choose an epoch.
    with pytest.raises(UsageError, match="that this run validates on") as refused:
        tiny("student_only", tmp_path, given, "selection.rule=best-val")
    assert "--set selection.rule=best-val" in str(refused.value.hint)


@pytest.mark.slow
def test_a_teacher_of_a_file_is_held_to_the_same(pretrained: Path, tmp_path: Path) -> None:
    (teacher,) = (pretrained.parent / "teachers").glob("motionsim-*")
    with pytest.raises(UsageError, match=r"teacher.weights = .* was trained under the protocol 'cross_subject'"):
        run(
            "kd",
            "motionsim",
            preset="smoke",
            device="cpu",
            out=tmp_path,
            teacher="raw",
            protocol="subject_specific",
            overrides=[*WORLD, f"teacher.weights={teacher}"],
        )


@pytest.mark.slow
def test_a_file_of_another_network_is_named(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"student.initial_weights = .* holds another network than the recipe describes"
    ):
        tiny("student_only", tmp_path, f"student.initial_weights={pretrained}", "student.encoder.widths=[8,16,24,32]")
    with pytest.raises(UsageError, match="there is no such file"):
        tiny("student_only", tmp_path, f"student.initial_weights={tmp_path / 'none'}")


@pytest.mark.parametrize(
    ("method", "changes", "text"),
    [
        ("untrained", ["track.labels=0", "student.initial_weights=x"], "initial_weights have no effect"),
        ("dml", ["teacher.initial_weights=x"], "begins with random weights"),
        ("student_only", ["student.initial_weights=x", "student.encoder.weights=y"], "choose one of the two"),
    ],
)
def test_weights_without_an_effect_are_refused(method: str, changes: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        resolve(method, "smoke", changes)
