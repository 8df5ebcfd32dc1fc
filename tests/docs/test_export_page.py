"""The page on exports: its commands follow one another as they are typed, and export prints what stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from exports import a_run, depth_file, world
from shown_output import holds

from kdbench.cli import main

TEXT = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")


def commands() -> Iterator[tuple[list[str], list[str]]]:
    """The words of each command of kdbench in a block, and the lines below it; not those that are to fail."""
    for block in re.findall(r"(?:^    .*\n)+", TEXT, re.MULTILINE):
        lines = [line.removeprefix("    ") for line in block.splitlines()]
        begins = [at for at, line in enumerate(lines) if re.match(r"(\$ )?kdbench ", line)]
        for at in begins:
            words = shlex.split(lines[at].removeprefix("$ "), comments=True)[1:]
            shown = lines[at + 1 :] if lines[at].startswith("$ ") else []
            # Another Python makes models for phones.
            if words[0] != "run" and "--converter" not in words and not "".join(shown).startswith("error: "):
                yield words, shown


@pytest.mark.slow
def test_its_commands_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = world(), a_run("student_only")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_CACHE", str(root / "cache"))
    monkeypatch.setenv("KDBENCH_HOME", str(root / "runs"))
    monkeypatch.setenv("COLUMNS", "200")
    of_its_world = ["--dataset", str(root / "card.yaml"), "--data-dir", str(root / "data")]
    typed = list(commands())
    assert [words[0] for words, _ in typed] == ["export", "export", "predict", "stream"]
    for words, shown in typed:
        for word in words:
            if word.endswith(".mat"):
                shutil.copy(depth_file("a1_s2_t1"), word)
        words = [run.folder.name if word in ("RUN", "student_only") else word for word in words]
        if words[0] == "stream":
            # The recordings here are shorter than those of the page.
            words[words.index("--window") + 1] = "0.6"
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*words, *(of_its_world if words[0] == "export" else [])])
        captured = capsys.readouterr()
        assert not left.value.code, (words, captured.out + captured.err)
        printed = captured.out.splitlines()
        if words[0] == "export" and shown:
            assert holds(printed, shown), captured.out
            assert shown[-1] == "export: student"
        elif words[0] == "stream":
            # What is seen depends on the student, and how many windows on the recording.
            assert [line for line in shown if line.startswith(("windows", "timeline"))] == printed[-2:]
            assert re.fullmatch(r"\d+ windows of .* come in\)", printed[-3])
        elif words[0] == "predict":
            assert all(word in captured.out for word in words if word.endswith(".mat"))
