"""Whole systems in one ranking, and headings of tables that see unlike things."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import make_run, make_study

import kdbench
from kdbench.cli import main
from kdbench.comparison.formats import render
from kdbench.comparison.text_tables import text_tables
from kdbench.errors import UsageError
from kdbench.grid.suite import load_suite
from kdbench.recipes.resolve import resolve

SEEN = ["accelerometer", "gyroscope", "video:depth"]


def make_system(root: Path, method: str, wrong: int, seed: int = 0, **changed: object) -> Path:
    """A run of a shipped method of branches, with its own recipe and conditions."""
    recipe = resolve(method, "small")
    whole = recipe.model_dump(mode="json")
    change = {"recipe": whole | {key: changed.pop(key) for key in ("without",) if key in changed}}
    own = recipe.reported.architecture() | {"train": whole["teacher"]["train"], "fingerprint": "f" * 64}
    own |= {"test_modalities": SEEN, "encoder": None} | changed
    return make_run(root, method, seed, wrong=wrong, change=change, **own)


def study(root: Path) -> None:
    make_study(root, {"student_only": 20, "kd": 14}, seeds=2)
    for seed in (0, 1):
        make_run(root, "student_only_sensor", seed, wrong=25, fingerprint="e" * 64, view=None,
                 test_modalities=["accelerometer"], encoder={"name": "conv1d"})  # fmt: skip
        make_system(root, "hamlet", 8, seed)
        make_system(root, "keyless", 9, seed)


def test_whole_systems_stand_in_one_ranking_that_says_what_each_sees(tmp_path: Path) -> None:
    study(tmp_path)
    assert len(kdbench.compare(tmp_path).tables) == 4
    found = kdbench.compare(tmp_path, systems=True)
    (table,) = found.tables
    assert [row.method for row in table.rows] == ["hamlet", "keyless", "kd", "student_only", "student_only_sensor"]
    text = text_tables(found)[0]
    columns = {name: place for place, name in enumerate(text.headers)}
    shown = {row[0]: row for row in text.rows}
    assert shown["hamlet"][columns["Sees at test"]] == "accelerometer, gyroscope, video:depth"
    assert shown["hamlet"][columns["Network"]] == "windows1d, attention + conv2plus1d, attention; multihead"
    assert shown["keyless"][columns["Network"]] == "conv1d, keyless + conv2plus1d, keyless; concat"
    assert shown["student_only_sensor"][columns["Sees at test"]] == "accelerometer"
    assert shown["student_only"][columns["Network"]] == "conv2plus1d"
    # What sees other things has no gain: it is over the student alone of the very same conditions.
    gains = {row.method: row.gain for row in table.rows}
    assert gains["kd"] is not None
    assert gains["kd"].over == "student_only"
    assert [gains[name] for name in ("hamlet", "keyless", "student_only_sensor", "student_only")] == [None] * 4
    assert any(note.startswith("whole systems:") for note in text.notes)
    record = next(row for row in json.loads(render(found, "json"))["methods"] if row["method"] == "keyless")
    assert record["network"] == shown["keyless"][columns["Network"]]


def test_unlike_recordings_keep_systems_apart(tmp_path: Path) -> None:
    study(tmp_path)
    make_system(tmp_path, "mumu", 8, fingerprint="d" * 64)
    found = kdbench.compare(tmp_path, systems=True)
    # The sensor student saw no view, so that it stands beside either recording of it.
    assert [sorted(row.method for row in table.rows) for table in found.tables] == [
        ["hamlet", "kd", "keyless", "student_only", "student_only_sensor"],
        ["mumu", "student_only_sensor"],
    ]


def test_systems_are_not_ranked_across_protocols_or_settings_that_were_not_asked_for(tmp_path: Path) -> None:
    study(tmp_path)
    make_system(tmp_path, "mumu", 8, protocol="subject_specific")
    make_system(tmp_path, "mcrl_style", 8, precision="bf16")
    assert len(kdbench.compare(tmp_path, systems=True).tables) == 3
    found = kdbench.compare(tmp_path, systems=True, allow_different=["precision"])
    assert len(found.tables) == 2
    assert any("precision (beside each row)" in note for note in text_tables(found)[0].notes)
    with pytest.raises(UsageError, match="no ranking goes across protocol"):
        kdbench.compare(tmp_path, systems=True, allow_different=["protocol"])


def test_two_views_of_one_method_are_two_rows(tmp_path: Path) -> None:
    make_run(tmp_path, "student_only", wrong=20)
    make_run(tmp_path, "student_only", wrong=10, view="rgb", fingerprint="a" * 64, test_modalities=["video:rgb"])
    (table,) = kdbench.compare(tmp_path, systems=True).tables
    assert [(row.method, row.test_modalities) for row in table.rows] == [
        ("student_only (view=rgb)", "video:rgb"),
        ("student_only (view=depth)", "video:depth"),
    ]


def test_headings_name_the_sources_and_what_was_taken_away(tmp_path: Path) -> None:
    study(tmp_path)
    make_system(tmp_path, "hamlet", 30, test_modalities=SEEN[::2], without=["gyroscope"])
    start = "utd_mhad · cross_subject · small · "
    titles = {title.removeprefix(start) for title in (table.title for table in kdbench.compare(tmp_path).tables)}
    assert titles == {
        "sees video:depth",
        "sees accelerometer",
        "sees accelerometer, gyroscope, video:depth · windows1d, attention + conv2plus1d, attention; multihead",
        "sees accelerometer, gyroscope, video:depth · conv1d, keyless + conv2plus1d, keyless; concat",
        "sees accelerometer, video:depth without gyroscope",
    }


def test_networks_of_unlike_branches_are_told_apart_as_a_whole(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20}, seeds=1)
    make_system(tmp_path, "hamlet", 8)
    make_system(tmp_path, "keyless", 9)
    notes = [note for text in text_tables(kdbench.compare(tmp_path)) for note in text.notes]
    apart = [note for note in notes if note.startswith("not ranked with table 1: ")]
    assert len(apart) == 2
    alike, unlike = sorted(apart, key=lambda note: "network (" in note)
    # Of the same branches, what they differ in is named, but no parameter that only one of two parts has.
    assert "branches.camera.pooling.name (attention against keyless)" in alike
    assert "not recorded" not in alike
    assert "pooling.lstm" not in alike
    assert "against conv2plus1d)" in unlike
    assert "branches." not in unlike
    with pytest.raises(UsageError, match=r"network \(windows1d, attention \+ conv2plus1d, .*… against conv2") as told:
        kdbench.compare(tmp_path, methods=["student_only", "hamlet"])
    assert "--allow-different" in str(told.value.hint)


def test_headings_choose_the_conditions_that_tell_most_tables_apart(tmp_path: Path) -> None:
    for epochs, size, rate in ((30, 8, 0.1), (30, 16, 0.2), (40, 32, 0.2)):
        make_run(tmp_path, "kd", train={"epochs": epochs, "batch_size": size, "lr": rate})
    marks = {table.title.split(" · ")[-1].split(",")[0] for table in kdbench.compare(tmp_path).tables}
    # Epochs or the rate would leave two of them alike.
    assert marks == {"batch_size 8", "batch_size 16", "batch_size 32"}


def test_the_suite_of_systems_says_how_they_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The paper's Table 1 ranks whole systems, too; its ablation is of one.
    assert all(load_suite(name).systems for name in ("systems", "table1", "table1_mmact"))
    assert not load_suite("ablation").systems
    study(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--systems", "--out", str(tmp_path)])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.count("Table ") == 1
    assert "Sees at test" in printed
