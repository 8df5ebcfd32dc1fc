"""Every command that a page names exists with its options and names, so that it can be typed."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdbench.cli import COMMANDS, load
from kdbench.grid.suite import shipped_suites
from kdbench.recipes.shipped import aliases
from kdbench.registry import registry

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs/tutorials").glob("*.py"))
BLOCK = re.compile(r"^(?:#? {4,5}|\$ )(kdbench .*)$", re.MULTILINE)
INLINE = re.compile(r"`(kdbench [a-z][^`]*)`")
STANDS_FOR = re.compile(r"[A-Z_]{3,}|…|\.\.\.|NAME|SUITE")


def commands(path: Path) -> Iterator[list[str]]:
    """The commands of a page, as a shell would part them."""
    text = path.read_text(encoding="utf-8").replace("\\\n#     ", " ")
    for line in [*BLOCK.findall(text), *(" ".join(found.split()) for found in INLINE.findall(text))]:
        words = shlex.split(line, comments=True)[1:]
        if words and words[0] in COMMANDS:
            yield words


def wrong(words: list[str]) -> str:
    """What cannot be typed in a command; empty where all of it can."""
    command: Any = load(COMMANDS[words[0]][0])
    rest = words[1:]
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        if STANDS_FOR.search(rest[0]):
            return ""
        if rest[0] not in command.commands:
            return f"no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known = options | {"--help", "-h", "--debug", "--plugin"}
    names = {
        "--method": {*registry("method").names(), *aliases()},
        "--teacher": set(registry("teacher").names()),
        "--dataset": set(registry("dataset").names()),
        "--suite": set(shipped_suites()),
    }
    for option, value in itertools.pairwise([*rest, ""]):
        if option.startswith("--") and option.partition("=")[0] not in known:
            return f"no option {option}"
        own = STANDS_FOR.search(value) or value.endswith((".yaml", ".yml")) or "tuned/" in value
        if option in names and value and not own and value not in names[option]:
            return f"no {option.removeprefix('--')} {value}"
    return ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_says_can_be_typed(path: Path) -> None:
    assert {shlex.join(words): fault for words in commands(path) if (fault := wrong(words))} == {}


def test_the_pages_hold_many_commands_and_a_wrong_one_is_noticed() -> None:
    assert sum(1 for path in PAGES for _ in commands(path)) > 100
    assert wrong(["run", "--method", "student_onyl"]) == "no method student_onyl"
    assert wrong(["run", "--metod", "kd"]) == "no option --metod"
    assert wrong(["runs", "remove"]) == "no command remove"
    assert wrong(["data", "prepare", "utd_mhad"]) == ""
