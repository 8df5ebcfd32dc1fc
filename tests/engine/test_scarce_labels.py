"""Runs in which not every trial has a label or sensors: who is shown what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import known, tiny
from torch import Tensor

from kdbench import loss
from kdbench.errors import UsageError
from kdbench.types import Batch, Features
from kdbench.util.progress import Reporter
from kdbench.util.records import read_json, read_jsonl


def spy(name: str, seen: list[dict[str, Any]], **declares: Any) -> Any:
    """A loss of value zero that writes down the rows that it is given."""

    @loss(name, on="logits", all_teachers=True, **declares)
    def watch(student: Tensor, teacher: list[Tensor] | None = None, *, batch: Batch) -> Tensor:
        """Writes down the batch."""
        rows = None if teacher is None else len(teacher[0])
        seen.append({"label": batch.label.tolist(), "trial": batch.trial, "student": len(student), "teacher": rows})
        return (0 * student).sum()

    return watch


@pytest.mark.slow
def test_only_labelled_trials_show_a_label_and_every_batch_has_some(tmp_path: Path) -> None:
    every: list[dict[str, Any]] = []
    needing: list[dict[str, Any]] = []
    with known(spy("every", every, labels="optional")), known(spy("needing", needing, teacher=False)):
        result = tiny(
            "hinton_raw",
            tmp_path,
            "track.labels=1",
            "student.train.batch_size=8",
            "student.losses.every.weight=1",
            "student.losses.needing.weight=1",
        )
    # Rehearsals come first, on trials that all have their labels.
    first = next(place for place, call in enumerate(every) if -1 in call["label"])
    every, needing = every[first:], needing[first:]
    for batch, supervised in zip(every, needing, strict=True):
        assert [label >= 0 for label in batch["label"]] == [True] * 2 + [False] * (len(batch["label"]) - 2)
        assert batch["student"] == batch["teacher"] == len(batch["label"])
        assert supervised["label"] == batch["label"][:2]
        assert supervised["student"] == 2
    assert len({trial for batch in every for trial in batch["trial"][:2]}) == 4
    assert len({trial for batch in every for trial in batch["trial"]}) == 24
    assert read_json(result.folder / "run.json")["conditions"]["track"]["labels"] == 1


@pytest.mark.slow
def test_a_teacher_sees_paired_trials_alone(tmp_path: Path) -> None:
    every: list[dict[str, Any]] = []
    changes = ["track.pairs=0.5", "student.train.batch_size=8", "student.train.epochs=6"]
    with known(spy("every", every, labels="optional")):
        tiny("hinton_raw", tmp_path, *changes, "student.losses.every.weight=1")
    # Three steps per epoch, half of each batch paired as half of the trials are; before them come the rehearsals.
    steps = every[-18:]
    for batch in steps:
        assert batch["student"] == batch["teacher"] == len(batch["label"]) == 4
        assert all(label >= 0 for label in batch["label"])
    assert len({trial for batch in steps for trial in batch["trial"]}) == 12


def test_a_loss_that_does_not_say_what_it_does_with_labels_is_refused(tmp_path: Path) -> None:
    with known(spy("silent", [])), pytest.raises(UsageError, match=r"student\.losses\.silent takes the batch"):
        tiny("hinton_raw", tmp_path, "track.labels=1", "student.losses.silent.weight=1")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dkd_raw", "crd_raw", "condrk_raw", "sgm_ft_raw"])
def test_methods_train_where_labels_are_scarce(tmp_path: Path, method: str) -> None:
    records = read_jsonl(tiny(method, tmp_path, "track.labels=1").folder / "metrics.jsonl")
    values = [value for record in records for value in record["terms"].values()]
    assert all(value is not None for value in values)


@pytest.mark.slow
def test_labels_and_teacher_share_what_they_can(tmp_path: Path) -> None:
    folders = {tiny("hinton_raw", tmp_path, *track).result["teacher"]["folder"] for track in ([], ["track.labels=1"])}
    assert len(folders) == 1
    same = tiny("hinton_raw", tmp_path, "track.labels=2", "track.teacher_labels=same", "teacher.train.epochs=30")
    assert same.result["teacher"]["folder"] not in folders


@pytest.mark.slow
def test_a_teacher_of_few_labels_trains_as_long_as_one_of_all(tmp_path: Path) -> None:
    lines: dict[str, list[dict[str, Any]]] = {}

    class Steps(Reporter):
        def __init__(self, name: str) -> None:
            self._name = name

        def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
            lines.setdefault(self._name, []).append({"phase": phase, "epochs": epochs, "steps": steps})

    shared = "track.teacher_labels=same"
    tracks: dict[str, list[str]] = {"all": [], "same": [shared], "own": [shared, "track.teacher_steps=own"]}
    made = {
        name: tiny("hinton_raw", tmp_path, "track.labels=1", *track, reporter=Steps(name))
        for name, track in tracks.items()
    }
    first = {name: told[0]["steps"] for name, told in lines.items()}
    assert first["same"] == first["all"] > first["own"]
    assert len({one.result["teacher"]["folder"] for one in made.values()}) == 3
    assert made["same"].result["conditions"]["track"]["teacher_steps"] == "whole"
    assert "teacher_steps" not in made["all"].result["conditions"]["track"]


def test_heads_of_batches_and_features_are_their_first_rows() -> None:
    features = Features(
        torch.arange(6.0).view(3, 2), (torch.zeros(3, 1, 2),), torch.zeros(3, 4), semantic=torch.ones(3, 5)
    )
    head = features.head(2)
    assert (len(head.logits), len(head.stages[0]), len(head.embedding), len(head.semantic)) == (2, 2, 2, 2)
    assert features.head(None) is features
