"""The command line, run in this process or in one of its own; and a plugin that is installed for a test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from plugin_site import site_of

from kdbench.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def kdbench(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command in this process."""

    def call(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints goes to a terminal of 80 columns, without colours."""
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def kdbench_process() -> Callable[..., Outcome]:
    """Runs a command in a process of its own."""

    def call(*arguments: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "kdbench", *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a distribution of one module with entry points, for this test."""

    with site_of(tmp_path / "site", monkeypatch) as site:

        def add(module: str, source: str, entry_points: str) -> None:
            site.add(module, entry_points, {f"{module}.py": source})

        yield add
