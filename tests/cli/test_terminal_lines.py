"""What a narrow terminal shows: sentences broken between words, commands and paths whole."""

from __future__ import annotations

import io

import pytest

from kdbench.text.terminal import SafeConsole, print_prose

SENTENCE = "Estimated training time and disk space: unknown, since no finished run in this folder has this data set."


def printed(text: str, *, terminal: bool) -> list[str]:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=terminal, width=40, color_system=None)
    print_prose(console, text)
    return out.getvalue().splitlines()


def test_a_terminal_breaks_sentences_between_words() -> None:
    lines = printed(SENTENCE, terminal=True)
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40
    assert " ".join(line.strip() for line in lines) == SENTENCE


@pytest.mark.parametrize("length", [39, 40, 41, 120])
def test_a_path_longer_than_the_terminal_is_whole(length: int) -> None:
    path = "/" + "x" * (length - 1)
    assert path in printed(f"the folder is {path}, as you said", terminal=True)[1]


@pytest.mark.parametrize(
    "command",
    [
        "kdbench compare --out somewhere",
        "kdbench run --method rkd --dataset utd_mhad --preset small --seeds 3",
        "kdbench run --set 'student.losses.rkd={weight: 1, squared: true}'",
    ],
)
def test_a_command_stays_on_one_line(command: str) -> None:
    lines = printed(f"Compare them in a moment: {command}, or: {command}", terminal=True)
    assert [command in line for line in lines].count(True) == 2


def test_a_file_gets_whole_lines() -> None:
    assert printed(SENTENCE, terminal=False) == [SENTENCE]


def test_an_indent_goes_on() -> None:
    lines = printed(f"first\n    {SENTENCE}", terminal=True)
    assert lines[0] == "first"
    assert all(line.startswith("    ") for line in lines[1:])
