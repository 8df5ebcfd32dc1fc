"""Submissions of finished runs: what they hold, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import board_runs
import pytest
import yaml

from kdbench.errors import DataError, UsageError
from kdbench.leaderboard.add import add
from kdbench.leaderboard.check import check
from kdbench.leaderboard.entry import load
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import Recipe


def test_a_submission_holds_every_seed_and_lies_where_its_content_says(submission: Path, board: Path) -> None:
    entry = load(submission)
    assert submission == board / "submissions/utd_mhad/cross_subject/kd" / entry.result.id
    assert [each.seed for each in entry.result.seeds] == [0, 1, 2]
    assert entry.predictions.logits.shape == (3 * 430, 27)
    assert Recipe.model_validate(yaml.safe_load(entry.recipe_text)).name == "kd"
    assert [each["seed"] for each in json.loads((submission / "environment.json").read_text())] == [0, 1, 2]


def test_no_path_of_the_command_line_is_published(submission: Path) -> None:
    text = b"".join(path.read_bytes() for path in submission.iterdir())
    assert b"/home/me" not in text
    assert b"command" not in (submission / "environment.json").read_bytes()


def test_the_same_runs_give_the_same_submission(tmp_path: Path, board: Path) -> None:
    made = board_runs.runs(tmp_path / "runs", "kd")
    assert add(made, board) == add(made[::-1], board)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conditions": {"precision": "bf16"}}, 'unlike conditions: precision: "fp32", "bf16"'),
        ({"method": "other"}, 'unlike method: "kd", "other"'),
        ({"status": "interrupted"}, "is interrupted, expected a finished run"),
        ({"conditions": {"part": "validation"}}, "reports the validation part"),
        ({"conditions": {"selection": "best-test"}}, "chose its epoch by 'best-test'"),
        ({"excluded": {"a1_s2_t1": "cut off"}}, "left out 1 broken recording;"),
        ({"recipe": {"summary": "mine: /home/me/notes.txt"}}, "unlike recipe"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(tmp_path: Path, board: Path, change: dict, said: str) -> None:
    odd = board_runs.run(tmp_path / "odd", "kd", 2, **change)
    with pytest.raises(UsageError) as refused:
        add([*board_runs.runs(tmp_path / "runs", "kd", seeds=2), odd], board)
    assert said in str(refused.value)
    assert not list(board.rglob("result.json"))


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([0, 1], "seed 2 is missing"),
        ([0, 2, 3], "seed 1 is missing"),
        ([0, 1, 2**62], "seeds 2 and 3 and 4 and 5 are missing"),
        ([0, 1, 1, 2], "seed 1 is given twice"),
        ([], "no run"),
    ],
)
def test_seeds_have_to_be_whole(tmp_path: Path, board: Path, seeds: list[int], said: str) -> None:
    made = [board_runs.run(tmp_path / str(place), "kd", seed) for place, seed in enumerate(seeds)]
    with pytest.raises(UsageError, match=said):
        add(made, board)


@pytest.mark.parametrize("value", ["/home/me/data", "see ~/notes", r"C:\Users\me\x", "../weights.safetensors"])
def test_a_path_in_a_recipe_is_refused(tmp_path: Path, board: Path, value: str) -> None:
    recipe = {"summary": value}
    with pytest.raises(UsageError, match="belongs to one machine"):
        add(board_runs.runs(tmp_path / "runs", "kd", recipe=recipe), board)


def test_text_with_a_slash_is_no_path(tmp_path: Path, board: Path) -> None:
    recipe = {"summary": "m/s and/or 1/2, https://doi.org/10.1/x, a / b"}
    assert add(board_runs.runs(tmp_path / "runs", "kd", recipe=recipe), board).is_dir()


def test_metrics_that_the_predictions_do_not_give_are_refused_and_leave_nothing(tmp_path: Path, board: Path) -> None:
    made = board_runs.runs(tmp_path / "runs", "kd")
    path = made[1] / "run.json"
    result = json.loads(path.read_text())
    result["metrics"]["accuracy"] += 0.01
    path.write_text(json.dumps(result))
    with pytest.raises(DataError, match="seed 1: accuracy is"):
        add(made, board)
    assert not list(board.rglob("*.json"))


def test_the_recipe_of_a_searched_method_says_so(tmp_path: Path, board: Path) -> None:
    budget = {"trials": 3, "sampler": "tpe"}
    record = {"budget": budget, "study": "mine", "space": {"student.train.lr": {"low": 0.1, "high": 1}}, "best": {}}
    changes = {"tuning": record, "conditions": {"tuning": budget}}
    folder = add([board_runs.run(tmp_path, "kd", seed, **changes) for seed in range(3)], board)
    assert check(folder).problems == ()
    path = folder / "recipe.yaml"
    assert resolve(str(path), "small").tuning_budget == budget
    path.write_text(path.read_text().replace("trials: 3", "trials: 30"))
    assert any("disagree on 'tuning'" in problem for problem in check(folder).problems)


def test_a_half_written_run_is_named(tmp_path: Path, board: Path) -> None:
    made = board_runs.runs(tmp_path / "runs", "kd")
    (made[2] / "run.json").write_text('{"schema_version": 1, "sta')
    with pytest.raises(DataError, match=made[2].name):
        add(made, board)


def png(side: int = 4, note: str = "") -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info, buffer = PngInfo(), io.BytesIO()
    info.add_text("Comment", note)
    Image.new("RGB", (side, side), "red").save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_the_picture_of_an_explained_run_comes_along_as_pixels_alone(tmp_path: Path, board: Path) -> None:
    from PIL import Image

    made = board_runs.runs(tmp_path / "runs", "kd")
    board_runs.explained(made[1], png(note="<script>secret</script>") + b"<script>tail</script>")
    folder = add(made, board)
    data = (folder / "grad_cam.png").read_bytes()
    assert b"script" not in data
    assert Image.open(io.BytesIO(data)).getpixel((0, 0)) == (255, 0, 0)
    assert load(folder).result.files["grad_cam.png"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("picture", "probability", "said"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", None, "is not a whole PNG"),
        (png()[:-20], None, "is not a whole PNG"),
        (png(5000), None, "at most 4000 a side"),
        (png(), 0.123, "explains other predictions than those of the run"),
    ],
)
def test_a_picture_that_cannot_be_published_is_refused(
    tmp_path: Path, board: Path, picture: bytes, probability: float | None, said: str
) -> None:
    made = board_runs.runs(tmp_path / "runs", "kd")
    board_runs.explained(made[0], picture, probability=probability)
    with pytest.raises(DataError, match=said):
        add(made, board)
    assert not list(board.rglob("*.*"))


def test_a_picture_larger_than_a_page_bears_is_refused(tmp_path: Path, board: Path) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((1200, 1200), 90).save(buffer, "PNG")
    made = board_runs.runs(tmp_path / "runs", "kd")
    board_runs.explained(made[0], buffer.getvalue())
    with pytest.raises(DataError, match="expected at most 524288"):
        add(made, board)


def test_other_results_of_the_same_cell_are_refused_and_leave_the_board_as_it_is(tmp_path: Path, board: Path) -> None:
    first = add(board_runs.runs(tmp_path / "a", "kd"), board)
    with pytest.raises(UsageError, match="claims the same") as refused:
        add(board_runs.runs(tmp_path / "b", "kd", right=0.95), board)
    assert str(first) in str(refused.value)
    assert [path.parent for path in board.rglob("result.json")] == [first]


@pytest.mark.parametrize("name", ["a\nb", "\u202egnp.exe", "x" * 201, "bell\x07"])
def test_a_name_that_a_page_or_a_terminal_would_misread_is_refused(tmp_path: Path, board: Path, name: str) -> None:
    with pytest.raises(DataError, match="method = "):
        add(board_runs.runs(tmp_path / "runs", name), board)
