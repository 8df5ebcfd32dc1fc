"""From trained runs to a board, by the commands; trained again; and what the commands say when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import board_runs
import pytest
from helpers import tiny

from kdbench.cli import main
from kdbench.errors import DataError
from kdbench.leaderboard.add import add
from kdbench.leaderboard.check import check
from kdbench.leaderboard.entry import content_sha256, load
from kdbench.leaderboard.rerun import rerun
from kdbench.leaderboard.schema import json_schema
from kdbench.leaderboard.tier import Tier, Verification

ROOT = Path(__file__).parents[2]


def kdbench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["leaderboard", *map(str, arguments)])
    return int(stopped.value.code or 0)


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    published = json.loads((ROOT / "leaderboard/schema/submission-1.json").read_text())
    assert published == json_schema()


def test_the_shipped_board_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert kdbench("verify", "--board", ROOT / "leaderboard") == 0
    assert "submissions stand" in capsys.readouterr().out


@pytest.mark.slow
def test_trained_runs_are_submitted_shown_and_trained_again(
    tmp_path: Path, board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [tiny("kd", tmp_path / "runs", seed=seed).folder for seed in range(3)]
    assert kdbench("add", *made, "--board", board) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert check(folder).tier is Tier.RESCORED
    assert {epoch.phase for epoch in load(folder).result.seeds[0].claims.curves} == {"teacher", "student"}
    assert kdbench("build", "--board", board, "--out", tmp_path / "site") == 0
    assert kdbench("verify", folder, "--rerun", "--by", "Ada", "--tolerance", 0) == 0
    out = capsys.readouterr().out
    assert out.count("100.0 % of the predictions alike") == 3
    assert out.splitlines()[-2].startswith("re-run")
    assert check(folder).tier is Tier.RERUN
    record = json.loads((folder / "verification.json").read_text())
    assert record["by"] == "Ada"
    assert record["environment"]["device"] == "cpu"
    assert record["environment"]["threads"] >= 1
    assert record["environment"]["libraries"]["torch"]
    # The submitter's own folder, with everything trained, is taken for nothing.
    assert kdbench("verify", folder, "--rerun", "--by", "Ada", "--out", tmp_path / "runs") == 2
    assert "is not an empty folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_training_that_comes_to_something_else_gives_no_tier(tmp_path: Path, board: Path) -> None:
    made = [tiny("student_only", tmp_path / "runs", seed=seed).folder for seed in range(3)]
    # What was trained at other settings, submitted under these ones, by somebody who mends the hashes too.
    other = tiny("student_only", tmp_path / "other", "student.train.lr=0.5", seed=0).folder
    name = "predictions.parquet"
    (made[0] / name).write_bytes((other / name).read_bytes())
    result, theirs = (json.loads((folder / "run.json").read_text()) for folder in (made[0], other))
    result["metrics"] = theirs["metrics"]
    result["files"][name] = theirs["files"][name]
    (made[0] / "run.json").write_text(json.dumps(result))
    assert kdbench("add", *made, "--board", board) == 0
    (folder,) = (path.parent for path in board.rglob("result.json"))
    with pytest.raises(DataError, match="seed 0 comes to an accuracy of"):
        rerun(folder, tmp_path / "again", by="Ada", tolerance=0)
    assert check(folder).tier is Tier.RESCORED


def test_adding_prints_the_folder_and_says_how_a_picture_comes_along(
    tmp_path: Path, board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = board_runs.runs(tmp_path / "runs", "kd")
    assert kdbench("add", *made, "--board", board) == 0
    said = capsys.readouterr()
    assert check(Path(said.out.strip())).problems == ()
    assert said.err == f"without a Grad-CAM picture, since no run was explained: kdbench explain {made[0]}\n"


def test_a_record_of_another_content_gives_no_tier(submission: Path) -> None:
    seeds = load(submission).result.seeds
    record = {
        "schema_version": 2,
        "id": submission.name,
        "content_sha256": content_sha256(json.loads((submission / "result.json").read_text())),
        "by": "Ada Lovelace",
        "started": "2026-11-22T08:00:00Z",
        "tolerance": 0.1,
        "seeds": {seed: {"then": each.metrics.accuracy, "now": 0.8, "same": 1.0} for seed, each in enumerate(seeds)},
        "environment": {"seed": 2, "libraries": {}, "platform": "Linux x86_64", "device": "cpu"},
        "date": "2026-11-23",
    }
    (submission / "verification.json").write_text(json.dumps(record, default=str))
    assert check(submission).tier is Tier.RERUN
    for wrong in (
        {"id": "0" * 12},
        {"seeds": {0: record["seeds"][0]}},
        {"seeds": record["seeds"] | {0: {"then": 0.5, "now": 0.5, "same": 1.0}}},
        {"tolerance": 0.0001},
        {"tier": "gold"},
        {"content_sha256": "0" * 64},
        {"by": ""},
        {"by": "Ada\nLovelace"},
        {"date": "2126-01-01"},
        {"date": "2026-11-01"},
        {"schema_version": 1},
        {"seeds": {**record["seeds"], 3: record["seeds"][0]}},
        {"tolerance": 0.9},
    ):
        (submission / "verification.json").write_text(json.dumps(record | wrong))
        assert check(submission).tier is not Tier.RERUN
        assert any("verification.json" in problem for problem in check(submission).problems)


def test_the_submitters_own_training_again_is_no_verification_by_others(tmp_path: Path, board: Path) -> None:
    folder = add(board_runs.runs(tmp_path / "runs", "kd"), board, by="Ada  Lovelace")
    seeds = {
        seed: {"then": each.metrics.accuracy, "now": 0.8, "same": 1.0}
        for seed, each in enumerate(load(folder).result.seeds)
    }
    record = Verification(
        id=folder.name,
        content_sha256=content_sha256(json.loads((folder / "result.json").read_text())),
        by="ada lovelace",
        tolerance=0.1,
        seeds=seeds,
        environment=load(folder).environments[0],
        started="2026-11-22T08:00:00Z",
        date="2026-11-23",
    )
    path = folder / "verification.json"
    path.write_text(record.model_dump_json())
    assert check(folder).problems == ()
    assert check(folder).tier is Tier.RESCORED
    path.write_text(record.model_copy(update={"by": "Charles Babbage"}).model_dump_json())
    assert check(folder).tier is Tier.RERUN


def test_problems_are_all_listed_with_exit_code_3(
    tmp_path: Path, board: Path, submission: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (submission / "recipe.yaml").write_text("name: other\n")
    (submission / "more.txt").touch()
    assert kdbench("verify", "--board", board) == 3
    said = capsys.readouterr()
    assert "recipe.yaml was edited" in said.out
    assert "'more.txt' is not a file of this submission" in said.out
    assert "in 1 of 1 submission" in said.err
    assert kdbench("build", "--board", board, "--out", tmp_path / "site") == 3
    assert "does not verify" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "nowhere"], "nowhere"),
        (["verify", "--board", "nowhere"], "there is no board in nowhere"),
        (["verify", "."], "there is no submission in ."),
        (["verify", "--rerun"], "Name the submissions"),
        (["serve", "--site", "nowhere"], "there is no site in nowhere"),
    ],
)
def test_bad_requests_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (tmp_path / "leaderboard").mkdir()
    monkeypatch.chdir(tmp_path)
    assert kdbench(*arguments) in {2, 3}
    assert said in capsys.readouterr().err


def test_a_data_set_whose_files_decide_its_trials_stays_reported(tmp_path: Path, board: Path) -> None:
    from kdbench.data.card import load_card
    from kdbench.evaluation.metrics import over_shuffles

    classes = load_card("mmact").class_names
    changes = {"dataset": "mmact", "protocol": "cross_subject"}
    made = board_runs.runs(tmp_path / "runs", "kd", **changes, conditions=changes)
    for folder in made:
        _with_classes(folder, classes, over_shuffles)
    held = check(add(made, board))
    assert held.problems == ()
    assert held.tier is Tier.REPORTED


def _with_classes(folder: Path, classes: tuple[str, ...], scored) -> None:
    import numpy as np
    import pandas as pd

    table = pd.read_parquet(folder / "predictions.parquet")
    for extra in range(27, len(classes)):
        table[f"logit_{extra}"] = np.float32(-9)
    table.to_parquet(folder / "predictions.parquet", index=False)
    logits = table[[f"logit_{k}" for k in range(len(classes))]].to_numpy()
    result = json.loads((folder / "run.json").read_text())
    result["metrics"] = scored(logits[None], table["label"].to_numpy(), classes)
    (folder / "run.json").write_text(json.dumps(result))
