"""The commands of docs/own-data.md, with the output that it shows."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kdbench.cli import app
from kdbench.data.card import load_card

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/own-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def lines(text: str) -> list[str]:
    """Lines without what is different each time: progress, and the first line of a check."""
    kept = [line.rstrip() for line in text.splitlines()]
    return [line for line in kept if line and not line.startswith(("Preparing ", "✓ "))]


def predicted(table: str) -> list[tuple[str, str]]:
    """The recordings of a table of predictions, and their classes."""
    return re.findall(r"([a-z]+_\d)\.mp4 │ (\w+)", table)


@pytest.mark.slow
def test_the_commands_of_the_page_do_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    ran = 0
    for block in BLOCKS:
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            program, *words = shlex.split(command)
            ran += 1
            if program == "python":
                monkeypatch.setattr("sys.argv", words)
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
                continue
            # What is not exported below is looked at, and not run.
            words += ["--dry-run"] if words[0] == "run" and "student_only" not in words else []
            told = CliRunner().invoke(app, words)
            assert told.exit_code == 0, (command, told.output, told.exception)
            if words[0] == "predict":
                # Shares differ between processors; the classes are those that were recorded.
                assert predicted(told.stdout) == predicted(shown) == [("wave_1", "wave"), ("clap_2", "clap")]
            elif words[0] not in ("run", "export"):
                assert lines(told.stdout) == lines(shown), command
    assert ran == 9


def test_the_cards_of_the_page_are_cards(tmp_path: Path) -> None:
    whole, windows = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "card.yaml"
    path.write_text(whole)
    assert load_card(path).files is not None
    content = yaml.safe_load(whole)
    content["files"] = yaml.safe_load(windows)["files"]
    del content["views"]
    content["protocols"]["cross_subject"]["validation"] = {"draw": {"subject": 1}}
    path.write_text(yaml.safe_dump(content))
    files = load_card(path).files
    assert files is not None
    assert files.windows is not None
