"""Runs on recordings of one's own, some of which lack a source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from own_folders import card, write_card, write_folder
from typer.testing import CliRunner

from kdbench import run
from kdbench.cli import app
from kdbench.data.store.open import open_dataset
from kdbench.errors import UsageError


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_folder(
        tmp_path_factory.mktemp("own"), without=("anna/wave_1.mp4", "ben/clap_2.csv", "cleo/clap_1.csv")
    )
    return str(write_card(folder, card()))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))


SMALL = {"actions": 3, "subjects": 4, "trials": 2}
SMOKE = {"preset": "smoke", "overrides": {"student": {"train": {"epochs": 2}}, "teacher": {"train": {"epochs": 8}}}}


@pytest.mark.slow
def test_a_missing_modality_is_a_condition_and_no_error(path: str, tmp_path: Path) -> None:
    done = run("kd", path, teacher="raw", out=tmp_path / "runs", **SMOKE)
    result = json.loads((done.folder / "run.json").read_text())
    assert result["lacking"] == {"anna_wave_1": "no video"}
    assert result["excluded"] == {}
    # Of seven training trials with video, one has no accelerometer; of four test trials the teacher is asked about 3.
    assert result["trials"] == {"train": 7, "validation": 0, "test": 4, "labelled": 7, "paired": 6}
    warnings = "\n".join(result["warnings"])
    assert "1 trial of 'own' cannot be used: no video" in warnings
    assert "1 of 7 training trials lack what the teacher sees" in warnings
    assert result["teacher"]["accuracy"] in {0, 1 / 3, 2 / 3, 1}


def test_a_teacher_that_trains_along_needs_every_trial(path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trains together with the student, and 1 training trial of 'own'"):
        run("dml", path, out=tmp_path / "runs", preset="smoke")


def test_who_has_what_is_a_table(path: str) -> None:
    told = CliRunner().invoke(app, ["data", "who", path])
    assert told.exit_code == 0, told.exception
    rows = [line.split() for line in told.output.splitlines()]
    assert rows[0] == ["subject", "trials", "accelerometer", "video:rgb", "all", "sources"]
    assert rows[1:] == [
        ["anna", "4", "4", "3", "3"],
        ["ben", "4", "3", "4", "3"],
        ["cleo", "4", "3", "4", "3"],
        ["all", "12", "10", "11", "9"],
    ]


def test_the_conformance_checks_test_what_is_there(path: str) -> None:
    told = CliRunner().invoke(app, ["check", path])
    assert told.exit_code == 0, told.output


def test_no_source_is_made_up_where_the_others_are_prepared(tmp_path: Path) -> None:
    open_dataset("motionsim", video=None, progress=False, options=SMALL)
    changes = {"data": {"options": SMALL}, "student": {"train": {"epochs": 1}}}
    done = run("student_only_skeleton", "motionsim", preset="smoke", overrides=changes, out=tmp_path / "runs")
    printed = json.loads((done.folder / "run.json").read_text())["conditions"]["sources"]["skeleton"]
    read = open_dataset("motionsim", video=None, progress=False, options=SMALL, beside=["skeleton"])
    assert printed == read.beside["skeleton"].series_fingerprint


def test_the_checks_warn_of_units_that_are_off_by_gravity(tmp_path: Path) -> None:
    content = card()
    content["sensors"]["accelerometer"]["unit"] = "g"
    told = CliRunner().invoke(app, ["check", str(write_card(write_folder(tmp_path / "own"), content))])
    assert told.exit_code == 0, told.output
    assert "Warning: the accelerometer looks like m/s²: its median size is 10.3, and the card says g" in told.stderr
