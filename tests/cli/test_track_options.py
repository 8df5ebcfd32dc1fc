"""`--labels`, `--teacher-labels` and `--pairs`, and the commands that name a run's track."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import WORLD

from kdbench.recipes.track import PROBED
from kdbench.util.records import read_json


@pytest.mark.slow
def test_commands_say_the_track(tmp_path: Path, kdbench: Callable[..., Any]) -> None:
    words = "1 labelled trial per class, teacher uses all labels"
    command = ["run", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--out", str(tmp_path)]
    command += ["--set", WORLD[0], "--method", "student_only"]
    alone = kdbench(*command, "--labels", "1")
    assert alone.code == 0, alone.err
    assert words in " ".join(alone.out.split())
    assert kdbench(*command).code == 0
    folders = sorted(path.name for path in tmp_path.glob("student_only-*"))
    assert ["labels1" in folder for folder in folders] == [True, False]
    record = read_json(tmp_path / folders[0] / "run.json")
    assert record["trials"] == {"train": 24, "validation": 0, "test": 24, "labelled": 4, "paired": 24}
    assert record["conditions"]["track"] == {"labels": 1, "teacher_labels": "all", "pairs": 1.0, "quota": 0.25}
    listed = kdbench("runs", "list", "--out", str(tmp_path)).out
    assert words in listed
    assert "[track" not in listed
    assert words in " ".join(kdbench("runs", "show", folders[0], "--out", str(tmp_path)).out.split())
    tables = kdbench("compare", "--out", str(tmp_path)).out
    assert words in " ".join(tables.split())
    for command_of in (("runs", "list"), ("compare",)):
        few = kdbench(*command_of, "--labels", "1", "--out", str(tmp_path))
        assert few.code == 0, few.err
        assert words in " ".join(few.out.split())
        assert words not in " ".join(kdbench(*command_of, "--labels", "all", "--out", str(tmp_path)).out.split())
        assert "Write --labels all" in kdbench(*command_of, "--labels", "one", "--out", str(tmp_path)).err
    assert "no such run" in kdbench("runs", "list", "--labels", "7", "--out", str(tmp_path)).out
    none = kdbench("compare", "--labels", "7", "--out", str(tmp_path))
    assert none.code == 2
    assert "unknown value of --labels '7'" in none.err
    refused = kdbench("compare", "--out", str(tmp_path), "--allow-different", "track.labels")
    assert "other labels or pairs are another task" in refused.err
    planned = kdbench(*command, "--labels", "1", "--dry-run").out
    assert f"track: {words}" in planned
    assert "1 done" in planned


def test_a_run_without_labels_prints_every_probe(tmp_path: Path, kdbench: Callable[..., Any]) -> None:
    command = ["run", "--dataset", "motionsim", "--preset", "smoke", "--device", "cpu", "--out", str(tmp_path)]
    told = kdbench(*command, "--set", WORLD[0], "--method", "untrained", "--labels", "0")
    assert told.code == 0, told.err
    for words in ("student, linear probe", "by cosine 5-NN", "by its own logits", "not trained"):
        assert words in told.out
    assert PROBED in " ".join(told.out.split())
    shown = kdbench("compare", "--out", str(tmp_path), "--show", "metrics").out
    assert "5-NN" in shown


def test_a_data_set_says_which_tracks_it_has(kdbench: Callable[..., Any]) -> None:
    told = kdbench("describe", "motionsim").out
    assert "--labels K --teacher-labels same\n" in told
    assert "the others are video with a label" in told
    assert "a cosine 5-NN" in told
    assert kdbench("describe", "basic_motions").out.count("Not here: ") == 2
