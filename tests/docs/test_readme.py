"""The README does what it says: its commands are run, and what they print is what stands below them."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shown_output import holds

from kdbench.cli import main
from kdbench.registry import registry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def console() -> Iterator[tuple[str, list[str]]]:
    """The commands of the block that shows output, each with its lines."""
    (block,) = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for part in block.removeprefix("$ ").split("\n$ "):
        command, *lines = part.splitlines()
        yield command, lines


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Types a command of kdbench in an empty folder, and gives what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDBENCH_HOME", raising=False)
    # As wide as the terminal whose output the page shows.
    monkeypatch.setenv("COLUMNS", "100")

    def typed(command: str) -> str:
        program, *arguments = shlex.split(command)
        assert program == "kdbench"
        with pytest.raises(SystemExit) as left:
            main(arguments)
        captured = capsys.readouterr()
        assert not left.value.code, (command, captured.out + captured.err)
        return captured.out

    return typed


@pytest.mark.slow
def test_its_commands_print_what_it_shows_and_its_loss_trains(call: Callable[[str], str], tmp_path: Path) -> None:
    shown = list(console())
    assert len(shown) == 3
    for command, lines in shown:
        printed = call(command).splitlines()
        assert holds(printed, lines), "\n".join([command, *printed])
    (source,) = re.findall(r"^```python\n(# cosine_kd\.py\n.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "cosine_kd.py").write_text(source)
    own = re.findall(r"^    (kdbench .*--plugin.*)$", TEXT, re.MULTILINE)
    assert [command.split()[1] for command in own] == ["check", "run"]
    assert "failed" not in call(own[0])
    assert "cosine" in call(own[1])
    assert re.search(r"^cosine ", call("kdbench compare"), re.MULTILINE)


@pytest.mark.slow
def test_recordings_of_ones_own_become_a_prediction(
    call: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    block = TEXT.partition("## Recordings of your own")[2].split("\n\n")[2]
    python, *commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    monkeypatch.setattr("sys.argv", python[1:])
    runpy.run_path(str(ROOT / python[1]), run_name="__main__")
    assert [words[1] for words in commands] == ["data", "run", "export", "predict"]
    # What is learnt at small takes half a minute, and is not looked at.
    said = [call(shlex.join(words).replace("--preset small", "--preset smoke")) for words in commands]
    assert "kitchen/cleo/wave_1.mp4" in said[-1]


def test_a_line_that_was_not_printed_is_noticed() -> None:
    printed = ["loading", "accuracy 12.50", "folder: runs/x-1", "done"]
    assert holds(printed, ["…", "accuracy 3.00", "…"])
    assert holds(printed, ["loading", "accuracy 3.00", "folder: runs/x-2", "done"])
    assert not holds(printed, ["…", "recall 3.00", "…"])
    assert not holds(printed, ["accuracy 3.00", "…"])
    assert not holds(printed, ["loading", "done"])
    assert not holds(printed, ["loading"])


def test_it_is_short_and_every_file_that_it_links_is_there() -> None:
    assert len(TEXT.splitlines()) <= 150
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_commands_of_its_demo_name_what_exists() -> None:
    methods = re.findall(r"--method (\S+)", TEXT)
    assert methods
    assert set(methods) <= set(registry("method").names())
