"""The pages of a first hour and of the terminal: their commands are typed in turn, and do what they say."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.cli import main

DOCS = Path(__file__).parents[2] / "docs"
SMALLER = "data.options={actions: 6, subjects: 4, trials: 4}"
"""Generated data of seconds; the page itself takes the usual ones."""


def typed_on(page: str) -> list[list[str]]:
    """The words of each command of kdbench in a block of a page, as a shell parts them."""
    lines = re.findall(r"^    (kdbench .*)$", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Types a command in an empty folder, answers its question with yes, and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"HOME": tmp_path, "KDBENCH_CACHE": tmp_path / "cache", "COLUMNS": 120}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("KDBENCH_HOME", "CI"):
        monkeypatch.delenv(name, raising=False)

    def typed(words: list[str], code: int = 0) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        is_run = words[:1] == ["run"] and "motionsim" in words
        with pytest.raises(SystemExit) as left:
            main([*words, "--set", SMALLER] if is_run else words)
        captured = capsys.readouterr()
        assert (left.value.code or 0) == code, (words, captured.out + captured.err)
        return captured.out + captured.err

    return typed


@pytest.mark.slow
def test_a_first_hour_and_what_the_terminal_does_for_its_runs(
    call: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = typed_on("first-hour")
    removal, recordings = hour.index(["runs", "rm", "half-st"]), hour.index(["data", "download", "utd_mhad"])
    said = {shlex.join(words): call(words) for words in hour[:removal]}
    # What follows is about recordings that are downloaded.
    assert all("utd_mhad" in words for words in hour[recordings:])
    assert removal == recordings - 1
    assert len(re.findall(r"^\w{10}  .*finished", said["runs list"], re.MULTILINE)) == 3
    assert re.search(r"half-st .*\[st\.weight=0\.5\]", said["runs list"])
    assert re.search(r"^half-st ", said["compare"], re.MULTILINE)
    of_all = said["compare --exclude half-st --save figures"]
    assert "3 seeds run" in of_all
    assert "half-st" not in of_all
    assert {".png", ".csv", ".tex", ".html"} <= {path.suffix for path in Path("figures").iterdir()}
    (page,) = re.findall(r"^page: (.*)$", said["explain half-st"], re.MULTILINE)
    assert Path(page).is_file()

    terminal = [words for words in typed_on("terminal") if words[0] == "runs"]
    monkeypatch.delenv("KDBENCH_TRACKING", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    said = {shlex.join(words): call(words) for words in terminal}
    assert len(said) == 6
    assert re.findall(r"^\w{10} .*? (student_only|rkd) ", said["runs list --method sgm_ft"], re.MULTILINE) == []
    assert "half-st: sgm_ft, motionsim" in said["runs show half-st"]
    assert "removed 3 runs" in said["runs rm 'student_only-motionsim-*' --yes"]
    assert re.search(r"is run \w{32} of MLflow", said["runs send half-st"])
    assert "every teacher is used" in said["runs rm --teachers"]

    assert "Remove 1 run" in (told := call(hour[removal]))
    assert "removed 1 run" in told
    assert "half-st" not in call(["runs", "list"])


def test_what_is_left_out_is_asked_for_at_a_terminal_alone(call: Callable[..., str]) -> None:
    assert ["run"] in typed_on("terminal")
    assert "--method is missing\nFor example: kdbench run --method" in call(["run"], code=2)
