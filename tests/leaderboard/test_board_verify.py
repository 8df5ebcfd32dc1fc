"""Verification: every kind of edit is found and named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import board_runs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.leaderboard.add import add
from kdbench.leaderboard.check import check
from kdbench.leaderboard.consistency import check_card
from kdbench.leaderboard.entry import content_id, found, load
from kdbench.leaderboard.tier import Tier
from kdbench.leaderboard.trials import card_of
from kdbench.leaderboard.verify import verify

Edit = Callable[[dict[str, Any]], None]


def forge(folder: Path, edit: Edit | None = None, table: Callable[[pa.Table], pa.Table] | None = None) -> Path:
    """Edits a submission as somebody would who knows the format: hashes, id and folder are made to fit."""
    if table is not None:
        path = folder / "predictions.parquet"
        pq.write_table(table(pq.read_table(path)), path)
    result = json.loads((folder / "result.json").read_text())
    if edit is not None:
        edit(result)
    for name in list(result["files"]):
        if (folder / name).is_file():
            result["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    result["id"] = content_id(result)
    (folder / "result.json").write_text(json.dumps(result))
    return folder.rename(folder.with_name(result["id"]))


def replaced(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[pa.Table], pa.Table]:
    def edit(table: pa.Table) -> pa.Table:
        values = np.array(table[name].to_pylist(), dtype=object if name == "trial" else None)
        column = pa.array(list(change(values)), type=table[name].type)
        return table.set_column(table.column_names.index(name), name, column)

    return edit


def first(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[0] = value
        return values

    return change


def test_an_honest_submission_stands(submission: Path) -> None:
    held = check(submission)
    assert held.problems == ()
    assert held.tier is Tier.RESCORED


def set_metric(name: str, by: float) -> Edit:
    def edit(result: dict[str, Any]) -> None:
        result["seeds"][1]["metrics"][name] += by

    return edit


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "weighted_f1", "ece"])
def test_an_edited_metric_is_found(submission: Path, name: str) -> None:
    (problem,) = check(forge(submission, set_metric(name, 2e-6))).problems
    assert problem.startswith(f"seed 1: {name} is ")


def test_a_difference_below_the_tolerance_passes(submission: Path) -> None:
    assert check(forge(submission, set_metric("accuracy", 5e-7))).problems == ()


def test_an_edited_recall_is_found(submission: Path) -> None:
    def edit(result: dict[str, Any]) -> None:
        result["seeds"][0]["metrics"]["per_class_recall"]["draw triangle"] = 0.123

    (problem,) = check(forge(submission, edit)).problems
    assert "the recall of 'draw triangle' is 0.123" in problem


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (replaced("logits", first([float("nan")] * 27)), "a logit is not finite: a1_s2_t1"),
        (replaced("label", first(5)), "labels differ from the card's: a1_s2_t1"),
        (replaced("trial", first("a1_s1_t1")), "training trials leaked into the test part: a1_s1_t1"),
        (replaced("trial", first("a1_s1_t1")), "test trials are missing: a1_s2_t1"),
        (replaced("trial", first("nobody")), "trials that are no test trials: nobody"),
        (replaced("trial", first("a1_s2_t2")), "trials are there twice: a1_s2_t2"),
        (replaced("seed", first(7)), "predictions of seed 7, which has no result"),
        (replaced("shuffle", first(3)), "test trials are missing"),
        (lambda table: table.slice(1), "seed 0: test trials are missing: a1_s2_t1"),
        (lambda table: table.slice(430), "seed 0: predictions.parquet has no prediction of it"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "trials are there twice: a1_s2_t1"),
        (lambda table: table.drop_columns(["label"]), "has the columns seed, trial, shuffle, logits"),
        (
            replaced("logits", lambda rows: [row[:26] for row in rows]),
            "26 logits per trial, expected one for each of 27",
        ),
        (replaced("logits", first(None)), "a value is missing"),
        (replaced("label", first(99)), "a label is of no class"),
        (
            replaced("shuffle", lambda rows: range(len(rows))),
            "was seen in 430 orders (0, 1, 10 and 427 more), expected 1",
        ),
        (replaced("trial", first("x" * 201)), "the trials are not names of at most 200 letters"),
        (lambda table: table.append_column("seed", table["seed"]), "has the columns seed, trial, label, shuffle"),
        (lambda table: table.set_column(1, "trial", pa.array([{"a": 1}] * len(table))), "the trials are not names"),
        (lambda table: table.set_column(2, "label", pa.array([0.5] * len(table))), "is not a table of predictions"),
        (lambda table: table.set_column(4, "logits", pa.array([b"\x80\x04N."] * len(table))), "is not a table of"),
    ],
)
def test_edited_predictions_are_found(submission: Path, table: Callable[[pa.Table], pa.Table], said: str) -> None:
    if said == "a value is missing":
        table = _with_a_null
    held = check(forge(submission, table=table))
    assert any(said in problem for problem in held.problems), held.problems
    assert held.tier is Tier.REPORTED


def _with_a_null(table: pa.Table) -> pa.Table:
    rows = table["logits"].to_pylist()
    return table.set_column(table.column_names.index("logits"), "logits", pa.array([None, *rows[1:]]))


def change(**values: Any) -> Edit:
    def edit(result: dict[str, Any]) -> None:
        result.update(values)

    return edit


def condition(**values: Any) -> Edit:
    def edit(result: dict[str, Any]) -> None:
        result["conditions"].update(values)

    return edit


def without_seed_one(result: dict[str, Any]) -> None:
    del result["seeds"][1]


def in_another_order(result: dict[str, Any]) -> None:
    result["seeds"] = [result["seeds"][place] for place in (0, 2, 1)]


def cost(**values: float) -> Edit:
    def edit(result: dict[str, Any]) -> None:
        result["seeds"][0]["claims"]["cost"].update(values)

    return edit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (without_seed_one, "seed 1 is missing"),
        (change(schema_version=2), "schema version 2, and this kdbench reads 1"),
        (change(extra=1), "unknown key 'extra'"),
        (change(method="a\x1b[31m"), "method = 'a\\x1b[31m': expected text without control characters"),
        (
            change(files={"../../x.html": "0" * 64}),
            "the key '../../x.html' under files: expected 'predictions.parquet'",
        ),
        (change(plugins=[{"kind": "loss"}]), "plugins.0.name is missing"),
        (cost(train_seconds=-5.0), "cost.train_seconds = -5.0: expected at least 0"),
        (cost(train_seconds=1e999), "not valid JSON: Out of range float values"),
        (change(protocol="\ud800"), "not valid JSON: 'utf-8' codec"),
        (in_another_order, "its seeds are [0, 2, 1], expected 0 to 2"),
        (condition(selection="best-test"), "its epochs were chosen by 'best-test'"),
        (condition(test_modalities="video"), "conditions.test_modalities"),
        (condition(test_modalities=["accelerometer"]), "say that it sees ['accelerometer'], and its recipe ['video:"),
        (condition(data={"options": {"subjects": 10**12}}), "larger than any that was ever generated"),
        (change(method="better"), "recipe.yaml has the method 'kd', and result.json says 'better'"),
        (change(preset="paper"), "preset is 'paper', and its conditions say 'small'"),
        (change(classes=["a", "b"]), "its classes are not those of the card"),
        (change(summary="see /home/me/x"), "it tells a path of a machine"),
        (condition(precision="bf16"), "recipe.yaml and the conditions disagree on 'precision'"),
        (condition(train={}), "disagree on 'train'"),
        (condition(split="0123456789"), "split otherwise than the card says"),
        (condition(part="validation"), "report the part 'validation'"),
        (condition(libraries={}), "other libraries than its conditions say"),
        (change(protocol="cross_view"), "unknown protocol 'cross_view'"),
    ],
)
def test_an_edited_result_is_found(submission: Path, edit: Edit, said: str) -> None:
    held = check(forge(submission, edit))
    assert any(said in problem for problem in held.problems), held.problems


def test_an_edit_without_a_new_id_is_found(submission: Path) -> None:
    path = submission / "result.json"
    path.write_text(path.read_text().replace("Soft targets", "Hard targets"))
    assert any("was edited: its content has the id" in problem for problem in check(submission).problems)


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json", "predictions.parquet"])
def test_an_edited_or_missing_file_is_found(submission: Path, name: str) -> None:
    with (submission / name).open("ab") as file:
        file.write(b"\n")
    assert f"{name} was edited: its hash is not the one in result.json" in check(submission).problems
    (submission / name).unlink()
    assert f"{name} is missing" in check(submission).problems


def test_files_that_do_not_belong_and_other_folders_are_found(submission: Path) -> None:
    (submission / "notes.html").write_text("<script>")
    moved = submission.parent.parent / "sgm_ft" / submission.name
    shutil.move(submission, moved)
    problems = check(moved).problems
    assert "'notes.html' is not a file of this submission" in problems
    assert any("wrong folder, expected …/utd_mhad/cross_subject/kd/" in problem for problem in problems)


def test_two_claims_of_one_cell_are_found(tmp_path: Path, board: Path, submission: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    other = add(board_runs.runs(tmp_path / "better", "kd", right=0.95), elsewhere)
    shutil.copytree(other, submission.with_name(other.name))
    assert all("another submission claims the same" in held.problems[0] for held in verify(found(board)))


def test_a_folder_without_a_result_is_found(submission: Path, board: Path) -> None:
    (submission / "result.json").unlink()
    (held,) = verify(found(board))
    assert held.problems == ("result.json is missing",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 30_000, "is nested more than 40 deep"),
        ("- " * 20_000, "is nested more than 40 deep"),
        ("{a: " * 10_000, "is nested more than 40 deep"),
        ("a: &a [*a]", "recipe.yaml, line 1, column 8: a.0 refers to itself"),
    ],
    ids=["sequences", "lines", "mappings", "references"],
)
def test_a_recipe_that_no_parser_bears_is_named(submission: Path, text: str, said: str) -> None:
    (submission / "recipe.yaml").write_text(text)
    held = check(forge(submission))
    assert any(said in problem for problem in held.problems), held.problems


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("environment.json", b"[1, 2, 3]", "environment.json is not what its schema says"),
        ("environment.json", b"[" * 200_000, "environment.json is not valid JSON"),
        ("recipe.yaml", b"#" * 70_000, "recipe.yaml has 70000 bytes, expected at most 65536"),
        ("recipe.yaml", b"\xff\xfe", "recipe.yaml is not text"),
        ("predictions.parquet", b"PAR1 and no more PAR1", "predictions.parquet cannot be read"),
        ("verification.json", b'{"seeds": {"0": {}}}', "verification.json is not what its schema says"),
    ],
)
def test_a_file_that_is_something_else_is_named(submission: Path, name: str, content: bytes, said: str) -> None:
    (submission / name).write_bytes(content)
    held = check(forge(submission))
    assert any(said in problem for problem in held.problems), held.problems


@pytest.mark.parametrize("name", ["result.json", "predictions.parquet", "verification.json"])
def test_links_are_refused(tmp_path: Path, submission: Path, name: str) -> None:
    if (submission / name).is_file():
        (submission / name).rename(tmp_path / name)
    (submission / name).symlink_to(tmp_path / name)
    assert any(f"{name} is a link" in problem for problem in check(submission).problems)


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, board: Path, submission: Path) -> None:
    method = submission.parent
    method.rename(tmp_path / "elsewhere")
    method.symlink_to(tmp_path / "elsewhere")
    (held,) = verify(found(board))
    assert held.problems == ("its folder is a link, or lies in one",)


def test_a_sensor_network_where_the_sensors_leak_is_refused(tmp_path: Path, submission: Path) -> None:
    card = card_of("motionsim", {"cameras": 2})
    entry = load(submission)
    recipe = entry.recipe.model_copy(update={"student": None})
    seen = entry.result.conditions | {"view": None, "test_modalities": list(card.sensors)}
    changes = {"protocol": "cross_view", "classes": card.class_names, "conditions": seen}
    leaking = replace(entry, result=entry.result.model_copy(update=changes))
    leaking.__dict__["recipe"] = recipe
    (problem,) = check_card(leaking, card, None)
    assert problem.startswith("under protocol 'cross_view' the sensors of the test part are recordings that train")


def test_problems_are_fit_for_a_terminal(submission: Path) -> None:
    (submission / "\x1b[2J.txt").touch()
    (problem,) = check(submission).problems
    assert problem.isprintable()
    assert "x1b[2J.txt" in problem
