"""Streams that cannot take what is printed cost the text, and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.cli.output import unbreakable
from kdbench.text.terminal import SafeConsole

KDBENCH = f"{sys.executable} -m kdbench"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_a_closed_reader_ends_a_listing_without_an_error() -> None:
    done = shell(f"{KDBENCH} list losses | head -1; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.strip().endswith("0")
    assert done.stderr == ""


def test_a_full_output_is_said_where_the_output_is_the_result() -> None:
    done = shell(f"{KDBENCH} list losses > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: what was printed is lost: No space left on device\n"


def test_a_closed_output_is_no_error_and_no_file_takes_its_place() -> None:
    done = shell(f"{KDBENCH} list losses >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_ascii_gets_plain_letters() -> None:
    done = shell(f"{KDBENCH} list losses", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "?" not in done.stdout.partition("\n")[0]


def test_what_cannot_be_written_goes_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with unbreakable() as streams:
            sys.stdout.write("× text " * 10_000)
            sys.stdout.flush()
            assert streams.lost is not None
        assert sys.stdout is full


def test_letters_that_a_stream_lacks_become_plain_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with unbreakable():
            sys.stdout.write("2 × 3 · 90 %… é \udc80 界")
    assert (tmp_path / "out").read_text() == "2 x 3 - 90 %... e ? ?"


def test_control_characters_do_not_reach_a_terminal() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, color_system="standard", width=100)
    console.print("a \x1b[31mred\x1b[0m name\x07 \x9b2J \u202eesrever", style="bold", markup=False, highlight=False)
    shown = out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert shown == "a ?[31mred?[0m name ?2J ?esrever\n"
